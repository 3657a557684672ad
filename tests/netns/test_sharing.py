"""Several sessions on one TCP port of a pod when one of them stops, insists or is sent away: what the others are told."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.test_filter import answers, developer, get, steal, until_served, warning
from tests.netns.test_filter import original as original  # the fixture

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root"),
    pytest.mark.usefixtures("original"),
]

REQUESTS = [get("/a", X_User="alice"), get("/b", X_User="bob"), get("/c")]

Process = subprocess.Popen[str]


def agent_of(session: Process) -> int:
    """Return the process id of a session's agent."""
    for task in Path(f"/proc/{session.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"inpod.agent" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    raise AssertionError("no agent")


@contextmanager
def stopped(session: Process) -> Iterator[None]:
    """While the block runs the agent of a session stands still."""
    pid = agent_of(session)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("redirect", ["sk_lookup", "nftables"])
def test_a_host_that_stands_still_is_told_and_serves_again(pod: Pod, tmp_path: Path, redirect: str) -> None:
    with ExitStack() as undo:
        both = [
            undo.enter_context(
                developer(pod, tmp_path, name, steal(header_filter=f"x-user: {name}"), redirect=redirect)
            )
            for name in ("alice", "bob")
        ]
        alice, bob = both
        until_served(pod, ["alice", "bob", "original"], REQUESTS)
        with stopped(alice):
            assert "the session that shares it does not answer" in warning(bob)
            until_served(pod, ["original", "original", "original"], REQUESTS)
        assert warning(bob) == "Port 8080: it comes to this session again."
        until_served(pod, ["alice", "bob", "original"], REQUESTS)


def test_who_comes_while_the_host_stands_still_is_told(pod: Pod, tmp_path: Path) -> None:
    incoming = steal(header_filter="x-user: bob") | {"on_concurrent_steal": "continue"}
    with (
        developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")) as alice,
        stopped(alice),
        developer(pod, tmp_path, "bob", incoming, waits=False) as bob,
    ):
        assert "its agent does not answer; the program goes on without it" in warning(bob)


def test_who_insists_and_can_share_sends_nobody_away(pod: Pod, tmp_path: Path) -> None:
    insisting = steal(header_filter="x-user: bob") | {"on_concurrent_steal": "override"}
    with (
        developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")),
        developer(pod, tmp_path, "bob", insisting),
    ):
        assert [answer.split()[0] for answer in answers(pod, *REQUESTS)] == ["alice", "bob", "original"]


def test_guests_of_a_host_that_was_sent_away_are_told_by_whom(pod: Pod, tmp_path: Path) -> None:
    with ExitStack() as undo:
        alice, bob = [
            undo.enter_context(developer(pod, tmp_path, name, steal(header_filter=f"x-user: {name}")))
            for name in ("alice", "bob")
        ]
        with developer(pod, tmp_path, "carol", {"mode": "steal", "on_concurrent_steal": "override"}):
            until_served(pod, ["carol"] * 3, REQUESTS)
            assert "took port 8080 over" in warning(alice)
            # She may have had to send him away too: when his host was gone he was quicker than she.
            said = warning(bob)
            assert "took port 8080 over" in said or "steals port 8080 of this pod" in said
