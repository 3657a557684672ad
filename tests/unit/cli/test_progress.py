"""How a session's events look on stderr."""

import json
import os
import pty
import subprocess
import sys

import pytest

from inpod.cli.progress import Mode, show, words
from inpod.session.events import AgentLost, Event, Events, Note, PortSubscribed, Reconnected, Step, Summary

STORY: list[Event] = [
    Step("Looking for pod/web"),
    Summary("pod web", "mirror", "read"),
    PortSubscribed(8080, "mirror", "127.0.0.1:8080"),
    Note("Careful."),
    Note("By the way.", "info"),
    AgentLost(),
    Reconnected(),
]


def tell(mode: Mode) -> None:
    events = Events()
    with show(events, mode):
        for event in STORY:
            events.emit(event)


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    tell("auto")  # no terminal here
    assert capsys.readouterr().err == "".join(f"inpod: {words(event)}\n" for event in STORY)


def test_json_lines_are_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    tell("json")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in STORY]
    assert lines[2] == {
        "event": "PortSubscribed",
        "port": 8080,
        "mode": "mirror",
        "local": "127.0.0.1:8080",
        "protocol": "tcp",
    }


def test_off_still_warns(capsys: pytest.CaptureFixture[str]) -> None:
    tell("off")
    assert capsys.readouterr().err == f"inpod: Careful.\ninpod: {words(AgentLost())}\n"


def on_terminal(kind: str) -> str:
    """Return what a terminal gets to see."""
    terminal, inner = pty.openpty()
    code = "from tests.unit.cli.test_progress import tell; tell('auto')"
    environment = {**os.environ, "TERM": kind, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=inner, env=environment)
    os.close(inner)
    said = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not data:
            break
        said += data
    os.close(terminal)
    assert process.wait() == 0
    return said.decode()


def test_a_terminal_keeps_the_summary_and_no_step() -> None:
    text = on_terminal("xterm")
    assert words(STORY[1]) in text
    assert words(STORY[2]) in text
    # The cursor is back, and the line of the step is erased.
    assert "\x1b[?25h" in text
    assert text.rindex("\x1b[2K") < text.index(words(STORY[1]))


def test_a_dumb_terminal_has_plain_lines() -> None:
    assert on_terminal("dumb") == "".join(f"inpod: {words(event)}\r\n" for event in STORY)


@pytest.mark.parametrize("incoming", ["mirror", "steal", "off"])
@pytest.mark.parametrize("files", ["read", "local"])
def test_the_summary_says_where_everything_goes(incoming: str, files: str) -> None:
    text = words(Summary("pod web", incoming, files))
    assert text.startswith("In pod web: ")
    assert "out through it" in text
