"""Several sessions on one TCP port of a pod when one of them stops, insists or is sent away: what the others are told."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.test_filter import SERVER, answers, developer, event, get, steal, until_served, warning
from tests.netns.test_filter import original as original  # the fixture
from tests.processes import LIMIT_S, end, next_line

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root"),
    pytest.mark.usefixtures("original"),
]

REQUESTS = [get("/a", X_User="alice"), get("/b", X_User="bob"), get("/c")]

Process = subprocess.Popen[str]

CALLER = """
import http.client, json, select, sys
print("ready", flush=True)
answered = set()
while not select.select([sys.stdin], [], [], 0)[0]:
    for user in ("alice", "bob", ""):
        connection = http.client.HTTPConnection("10.77.0.1", 8080, timeout=10)
        connection.request("GET", "/" + user, headers={"X-User": user})
        answered.add((user, connection.getresponse().read().decode().split()[0]))
        connection.close()
print(json.dumps(sorted(answered)))
"""


KEEPER = """
import http.client, sys
connection = http.client.HTTPConnection("10.77.0.1", 8080, timeout=10)
for user in sys.stdin:
    connection.request("GET", "/", headers={"X-User": user.strip()})
    print(connection.getresponse().read().decode().split()[0], connection.sock.getsockname()[1], flush=True)
"""
"""Says who answers each line, and from which port it asked: all on one connection."""


HANGS_UP = SERVER.replace(
    "    def log_message(self, *args):",
    """
    def finish(self):
        super().finish()
        self.connection.close()
        print("hung up", flush=True)
    def log_request(self, *args):
        self.close_connection = True
    def log_message(self, *args):""",
)
"""Ends each connection after an answer, unsaid."""


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


@contextmanager
def calling(pod: Pod) -> Iterator[list[list[str]]]:
    """While the block runs users call, each time by a new connection, all of which must be answered; then who answered whom."""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", CALLER]
    answered: list[list[str]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert next_line(process.stdout) == "ready"
        yield answered
        out, _ = process.communicate("\n", timeout=LIMIT_S)
    assert process.returncode == 0
    answered += json.loads(out)


NO_UVLOOP = """
import os, sys
if any("inpod.agent" in word for word in sys.orig_argv):
    raise ImportError
sys.path.remove(os.path.dirname(__file__))
del sys.modules["uvloop"]
import uvloop
"""
"""An agent finds none."""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("redirect", ["sk_lookup", "nftables"])
def test_a_guest_stands_in_for_a_host_that_stands_still(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redirect: str, loop: str
) -> None:
    if loop == "asyncio":
        # It hears its session before it beats again, with uvloop after that.
        (tmp_path / "uvloop.py").write_text(NO_UVLOOP)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    requests = [get("/a", X_User="alice"), get("/b", X_User="bob"), get("/c", X_User="carol"), get("/d")]
    with ExitStack() as undo:

        def begin(name: str) -> Process:
            filters = steal(header_filter=f"x-user: {name}")
            return undo.enter_context(developer(pod, tmp_path, name, filters, redirect=redirect))

        alice, bob, carol = begin("alice"), begin("bob"), begin("carol")
        until_served(pod, ["alice", "bob", "carol", "original"], requests)
        with stopped(alice):
            assert "the session that shares it does not answer" in warning(bob)
            until_served(pod, ["original"], requests[:1])
            with calling(pod) as answered:
                assert warning(bob) == "Port 8080: it comes to this session again."
                until_served(pod, ["original", "bob", "carol", "original"], requests)
                os.kill(agent_of(alice), signal.SIGCONT)
                until_served(pod, ["alice", "bob", "carol", "original"], requests)
        # Nobody got what is another's, in whatever moment.
        assert {tuple(pair) for pair in answered} <= {
            (user, who) for user in ("alice", "bob", "") for who in ("original", user or "original")
        }
        assert ["alice", "alice"] in answered
        for gone in (bob, carol):
            end(gone)
            until_served(pod, ["alice", "original"], [requests[0], requests[3]])


def test_who_comes_while_a_guest_stands_in_gets_a_share(pod: Pod, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "begin")
    waiting = f"open({str(tmp_path / 'begin')!r}).read()\n{SERVER}"
    with (
        developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")) as alice,
        developer(pod, tmp_path, "bob", steal(header_filter="x-user: bob")) as bob,
        developer(pod, tmp_path, "carol", steal(header_filter="x-user: carol"), waits=False, server=waiting) as carol,
        (tmp_path / "begin").open("w") as begin,
    ):
        with stopped(alice):
            assert "the session that shares it does not answer" in warning(bob)
            # Before the guest has begun, or after that.
            begin.close()
            event(carol, "PortSubscribed")
            until_served(pod, ["original", "bob", "carol"], [*REQUESTS[:2], get("/c", X_User="carol")])
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


@contextmanager
def kept(pod: Pod) -> Iterator[Callable[..., list[str]]]:
    """A connection that a client keeps; call what it yields with users, to know who answers each."""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", KEEPER]
    ports: set[str] = set()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as keeper:

        def ask(*users: str) -> list[str]:
            assert keeper.stdin is not None
            answered = []
            for user in users:
                keeper.stdin.write(f"{user}\n")
                who, port = next_line(keeper.stdout).split()
                ports.add(port)
                answered.append(who)
            return answered

        try:
            yield ask
        finally:
            end(keeper)
    assert len(ports) == 1


def test_who_comes_later_gets_his_requests_on_the_connections_that_are_there(pod: Pod, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")), kept(pod) as ask:
        assert ask("alice", "bob", "") == ["alice", "original", "original"]
        with developer(pod, tmp_path, "bob", steal(header_filter="x-user: bob")):
            assert ask("alice", "bob", "", "bob") == ["alice", "bob", "original", "bob"]
        until_served(pod, ["alice", "original", "original"], REQUESTS)
        assert ask("alice", "bob", "") == ["alice", "original", "original"]


def test_program_that_ends_its_idle_connection_leaves_the_client_its_own(pod: Pod, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice"), server=HANGS_UP) as alice:
        assert next_line(alice.stdout) == "ready"
        with kept(pod) as ask:
            assert ask("alice") == ["alice"]
            assert next_line(alice.stdout) == "hung up"
            assert ask("", "alice") == ["original", "alice"]
