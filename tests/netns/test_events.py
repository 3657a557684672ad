"""What `--progress json` really says is what docs/reference/events.md says."""

import subprocess
import sys
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.events import Json, documented, read
from tests.netns.conftest import Pod
from tests.netns.test_filter import answers, developer, event, get, steal
from tests.netns.test_filter import original as original  # the fixture
from tests.processes import LIMIT_S, next_line

ELSEWHERE = {"PortServices", "Reconnected"}
"""Only sessions in a cluster have these: tests/e2e reads them in the same way."""


def agent_of(session: int) -> int:
    """Return the process id of a session's agent."""
    text = "".join(path.read_text() for path in Path(f"/proc/{session}/task").glob("*/children"))
    return next(pid for pid in map(int, text.split()) if b"inpod.agent" in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.usefixtures("original")
def test_every_event_is_as_its_page_says(pod: Pod, tmp_path: Path) -> None:
    found: list[Json] = []
    with developer(pod, tmp_path, "alice", steal(header_filter="^x-user: alice$"), waits=False) as session:
        found += [event(session, "Step"), event(session, "Summary"), event(session, "PortSubscribed")]
        assert answers(pod, get(x_user="alice"), get(x_user="bob")) == ["alice GET / 0", "original GET / 0"]
        while {"PortDelivered", "PortTraffic", "Note"} - {str(each["event"]) for each in found}:
            found += [read_next(session)]
        traffic = next(each for each in found if each["event"] == "PortTraffic")
        assert (traffic["seen"], traffic["matched"], traffic["passed"]) == (2, 1, 1)
        subprocess.run(["kill", "-KILL", str(agent_of(session.pid))], check=True)
        found += [event(session, "AgentLost"), event(session, "Failure")]
        assert session.wait(LIMIT_S) == found[-1]["exit_code"] == ExitCode.AGENT_LOST
    assert {str(each["event"]) for each in found} == documented().keys() - ELSEWHERE


def read_next(session: "subprocess.Popen[str]") -> Json:
    """Return the next event, whatever it is."""
    while not (line := next_line(session.stderr)).startswith('{"event": '):
        assert line
    return read(line)


def test_a_start_that_fails_says_so_as_the_page_says() -> None:
    argv = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{2**22}", "--progress", "json", "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
    failure = read(done.stderr.splitlines()[-1])
    assert (failure["event"], failure["exit_code"]) == ("Failure", done.returncode)
