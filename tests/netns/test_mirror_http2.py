"""HTTP/2 on a mirrored port: the program gets the matched requests, whole and no others; without a filter, and the original, all."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.events import Json
from tests.netns.conftest import Pod
from tests.netns.http2_programs import GRPC_CLIENT
from tests.netns.http2_recorders import NODE_CLIENT, TOLD
from tests.netns.mirrored import CLIENT_LIMIT_S, MINE, PORT, again, mirrored
from tests.netns.traffic import wait_until
from tests.packages import need

URL = f"http://127.0.0.1:{PORT}"
MIB = 1024 * 1024


def ask(pod: Pod, *command: str) -> str:
    """Return what a client in the pod's network prints, which ends well."""
    done = subprocess.run(
        ["nsenter", "-t", str(pod.pid), "-n", *command], capture_output=True, text=True, timeout=CLIENT_LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def curl(pod: Pod, *arguments: str) -> str:
    return ask(pod, "curl", "--silent", "--show-error", "--http2-prior-knowledge", *arguments)


@contextmanager
def told_client(pod: Pod) -> Iterator[Callable[..., None]]:
    """Run a client that does as it is told, with one connection."""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", TOLD, str(PORT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        yield lambda *what: print(json.dumps(what), file=process.stdin)
        process.stdin.close()
        assert process.wait(CLIENT_LIMIT_S) == 0


def load(pod: Pod, count: int, header: str, path: str, *, at_once: int, connections: int = 1) -> None:
    """Ask with h2load, which ends with the last answer."""
    need("h2load")
    numbers = ["-n", str(count), "-c", str(connections), "-m", str(at_once)]
    text = ask(pod, "h2load", *numbers, "--header", header, URL + path)
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in text


def by_path(requests: list[Json]) -> dict[object, Json]:
    found = {request["path"]: request for request in requests}
    assert len(found) == len(requests)
    return found


@again
def test_grpc_calls_of_one_channel_are_decided_one_by_one(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "grpc") as (original, program):
        assert json.loads(ask(pod, sys.executable, "-c", GRPC_CLIENT, str(PORT), "original")) == []
        asked = original.wait(202)
        told = program.wait(101)
        wanted = [call for call in asked if call["mine"]]
        assert sorted(map(str, told)) == sorted(map(str, wanted))
        assert not any(traffic["whole"] for traffic in program.events("PortTraffic"))


NODE_REQUESTS = 60
CANCEL = 8


def ask_much(pod: Pod, largest: int) -> None:
    assert ask(pod, "node", "-e", NODE_CLIENT, URL, str(NODE_REQUESTS), str(largest)) == ""


def assert_copied(original: list[Json], program: list[Json], *, is_filtered: bool = True) -> None:
    """All matched requests came as they came to the original, and no others."""
    wanted = {path: request for path, request in by_path(original).items() if request["mine"] or not is_filtered}
    found = by_path(program)
    assert found.keys() <= wanted.keys()
    # What is taken back may be so before the program is asked, or after it answered.
    assert {path: found.get(path) for path in wanted if not taken_back(path)} == {
        path: request for path, request in wanted.items() if not taken_back(path)
    }


def taken_back(path: object) -> bool:
    return str(path).startswith("/taken-back/")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"initialWindowSize": 1000, "maxConcurrentStreams": 2},
        {"initialWindowSize": 2**31 - 1, "maxFrameSize": 2**20},
    ],
    ids=["usual", "takes little", "takes much"],
)
@again
def test_streams_in_turns_arrive_whole_with_their_trailers(pod: Pod, tmp_path: Path, settings: Json) -> None:
    with mirrored(pod, tmp_path, "node", options={"settings": settings}) as (original, program):
        ask_much(pod, 2 * MIB)
        asked = original.wait(NODE_REQUESTS)
        wanted = {request["path"] for request in asked if request["mine"] and not taken_back(request["path"])}
        program.wait_until(lambda: wanted <= {request["path"] for request in program.requests()})
        assert_copied(asked, program.requests())


@pytest.mark.parametrize(
    "settings", [{}, {"initialWindowSize": 1000, "maxConcurrentStreams": 2}], ids=["usual", "takes little"]
)
@again
def test_without_a_filter_all_requests_arrive_whole(pod: Pod, tmp_path: Path, settings: Json) -> None:
    """On a connection that is the program's from the start, and keeps to what the program takes."""
    original_takes: Json = {"settings": {"initialWindowSize": 16 * MIB, "maxFrameSize": MIB}}
    with mirrored(pod, tmp_path, "node", None, {"settings": settings}, original_takes) as (original, program):
        ask_much(pod, 2 * MIB)
        asked = original.wait(NODE_REQUESTS)
        wanted = {request["path"] for request in asked if not taken_back(request["path"])}
        program.wait_until(lambda: wanted <= {request["path"] for request in program.requests()})
        assert_copied(asked, program.requests(), is_filtered=False)
        wait_until(lambda: program.events("PortDelivered"), "the connection is counted")
        assert [event["connections"] for event in program.events("PortDelivered")] == [1]


@again
def test_requests_arrive_though_the_client_is_gone_before(pod: Pod, tmp_path: Path) -> None:
    options = {"settings": {"maxConcurrentStreams": 1}, "delay": 100}
    with mirrored(pod, tmp_path, "node", options=options) as (original, program):
        load(pod, 20, "x-mine: 1", "/mine", at_once=20)
        told = program.wait(20)
        assert all(request["isWhole"] and not request["code"] for request in told)
        assert len(original.requests()) == 20


@again
def test_large_bodies_arrive_whole(pod: Pod, tmp_path: Path) -> None:
    """With frames of 1 MiB, as large as the original allows."""
    with mirrored(pod, tmp_path, "node", original={"settings": {"maxFrameSize": MIB}}) as (original, program):
        ask_much(pod, 12 * MIB)
        asked = original.wait(NODE_REQUESTS)
        wanted = {request["path"] for request in asked if request["mine"] and not taken_back(request["path"])}
        program.wait_until(lambda: wanted <= {request["path"] for request in program.requests()})
        assert_copied(asked, program.requests())


@pytest.mark.parametrize("http_filter", [MINE, None], ids=["filter", "no filter"])
@again
def test_program_that_ends_its_connections_gets_new_ones(pod: Pod, tmp_path: Path, http_filter: Json | None) -> None:
    with mirrored(pod, tmp_path, "node", http_filter, options={"closes": True}) as (original, program):
        with told_client(pod) as tell:
            number = came = 0
            while came < 5:
                number, dropped = number + 1, program.dropped()
                tell(f"/{number}", {"x-mine": "1"})
                tell(f"/{number}")
                # It may be on its way while the program ends its connection: then it is sent back, and counted.
                wait_until(lambda: len(program.requests()) > came or program.dropped() > dropped, "it comes")  # noqa: B023
                came = len(program.requests())
        assert all(request["isWhole"] for request in program.requests())
        assert len(original.wait(number)) == number


@again
def test_request_that_is_taken_back_is_taken_back_from_the_program(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "node") as (original, program), told_client(pod) as tell:
        for number, headers in enumerate(({"x-mine": "1"}, {"x-other": "1"}, {"x-mine": "1"})):
            tell(f"/taken-back/{number}", headers)
        wait_until(lambda: program.began("/taken-back/2"), "the program is asked")
        wait_until(lambda: original.began("/taken-back/2"), "the original is asked")
        tell("/taken-back/0", None)
        tell("/taken-back/1", None)
        # And one that goes on is not touched.
        first = program.wait(1)[0]
        assert (first["path"], first["size"], first["isWhole"], first["code"]) == ("/taken-back/0", 13, False, CANCEL)
        tell("/taken-back/2")
        last = program.wait(2)[1]
        assert (last["path"], last["size"], last["isWhole"], last["code"]) == ("/taken-back/2", 13, True, 0)
        assert len(original.wait(3)) == 3


@again
def test_requests_end_with_the_client_that_did_not_end_them(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "node") as (_, program):
        with told_client(pod) as tell:
            tell("/taken-back/1", {"x-mine": "1"})
            wait_until(lambda: program.began("/taken-back/1"), "the program is asked")
        told = program.wait(1)[0]
        assert (told["path"], told["isWhole"], told["code"]) == ("/taken-back/1", False, CANCEL)


@again
def test_filter_that_looks_at_the_body(pod: Pod, tmp_path: Path) -> None:
    body_filter = {"body": "json", "query": "$.user", "matches": "^alice$"}
    with mirrored(pod, tmp_path, "node", {"body_filter": body_filter}) as (original, program):
        for user in ("bob", "alice", "bob"):
            text = json.dumps({"user": user, "more": "x" * 50_000})
            body = tmp_path / "body"
            body.write_text(text)
            curl(pod, "--data-binary", f"@{body}", f"{URL}/{user}")
        told = program.wait(1)
        assert len(original.wait(3)) == 3
        assert [(request["path"], request["size"], request["isWhole"]) for request in told] == [
            ("/alice", len(text) + 2, True)
        ]


@again
def test_h2load_s_matched_requests_come_and_no_others(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "node") as (original, program):
        load(pod, 2000, "x-mine: 1", "/mine", connections=4, at_once=50)
        load(pod, 2000, "x-mine: 2", "/other", connections=4, at_once=50)
        assert len(original.wait(4000)) == 4000
        curl(pod, "--header", "X-Mine: 1", f"{URL}/last")
        told = program.wait(2001)
        assert [request["path"] for request in told] == ["/mine"] * 2000 + ["/last"]


@again
def test_connection_that_goes_on_in_http2_is_decided_request_by_request(pod: Pod, tmp_path: Path) -> None:
    """In a copy the original may have taken the offer to: then what follows is read as HTTP/2."""
    with mirrored(pod, tmp_path, "hypercorn", {"path_filter": "^/mine"}) as (original, program):
        offering = ["--silent", "--show-error", "--http2"]
        paths = ["/mine/1", "/other", "/mine/2", "/mine/3"]
        command = [argument for path in paths for argument in ("--next", *offering, URL + path)][1:]
        assert ask(pod, "curl", *command).split() == ["2"] * 4
        assert [request["path"] for request in original.wait(4)] == paths
        told = program.wait(3)
        assert [(request["path"], request["version"]) for request in told] == [
            ("/mine/1", "1.1"), ("/mine/2", "2"), ("/mine/3", "2"),
        ]  # fmt: skip
