"""How running sessions are listed."""

from typing import Any

import pytest

from inpod.cli.status import as_text


def session(protocol: str, mode: str = "steal", **counts: object) -> dict[str, Any]:
    names = ("connections", "refused", "seen", "matched", "passed", "whole", "dropped", "moved", "stayed")
    port = {
        "port": 80,
        "protocol": protocol,
        "mode": mode,
        "local": "127.0.0.1:8080",
        "why": "",
        "why_refused": "",
        "note": "",
        "services": [],
        **dict.fromkeys(names, 0),
        **counts,
    }
    return {"target": "pod web", "link": "up", "command": ["sh", "-c", "sleep 1"], "pid": 7, "ports": [port]}


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"connections": 1}, "1 connection came to the program"),
        ({"connections": 2}, "2 connections came to the program"),
        ({"refused": 1, "why_refused": "no listener"}, "1 not taken, the last: no listener"),
        ({"seen": 1, "matched": 1}, "1 request seen, 1 to the program, 0 to the target itself"),
        ({"seen": 3, "matched": 1, "passed": 2}, "3 requests seen, 1 to the program, 2 to the target itself"),
        ({"whole": 1}, "1 connection passed to the target unread"),
        ({"dropped": 2}, "2 packets missing"),
        ({"moved": 1}, "1 older connection reset, to come again"),
        ({"moved": 2}, "2 older connections reset, to come again"),
    ],
)
def test_what_is_counted_is_counted_in_words(counts: dict[str, Any], line: str) -> None:
    assert as_text(session("tcp", **counts)).splitlines()[2:] == [f"    {line}"]


def test_udp_has_peers_and_datagrams() -> None:
    lines = as_text(session("udp", connections=1, dropped=1)).splitlines()[1:]
    assert lines == [
        "  UDP port 80 goes to 127.0.0.1:8080",
        "    1 peer came to the program",
        "    1 datagram missing",
    ]


def test_the_command_is_one_line_as_it_is_typed() -> None:
    assert as_text(session("tcp")).splitlines()[0] == "pod web: sh -c 'sleep 1', process 7"
    long = {**session("tcp"), "command": ["python", "-c", "\nprint()\n" * 99]}
    assert as_text(long).splitlines()[0].startswith("pod web: python -c ' print()  print() ")
    assert len(as_text(long).splitlines()[0]) < 120


def test_what_is_copied_went_to_the_target_in_any_case() -> None:
    counts: dict[str, Any] = {"seen": 2, "matched": 1, "passed": 1, "why": "GET /1: no"}
    assert as_text(session("tcp", "mirror", **counts)).splitlines()[2:] == [
        "    2 requests seen, 1 copied to the program",
        "    the last one that was not copied: GET /1: no",
    ]
