"""What `inpod status` and the events tell of a port: what came, what did not, and why."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http import hpack
from inpod.protocol.agent import PREFACE
from tests.events import Json
from tests.netns.conftest import Pod
from tests.netns.session import in_network_of
from tests.netns.test_filter import PORT, SERVER, answers, developer, event, get, steal
from tests.netns.test_filter import original as original  # the fixture
from tests.netns.test_udp_agent import PORT as UDP_PORT
from tests.netns.test_udp_sharing import developer as udp_developer
from tests.netns.test_udp_sharing import until_served as until_udp_served
from tests.processes import LIMIT_S, next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")


def status(*options: str) -> str:
    command = [sys.executable, "-m", "inpod", "status", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout


def ports_of(session: "subprocess.Popen[str]") -> list[Json]:
    return [
        port for found in json.loads(status("-o", "json")) if found["pid"] == session.pid for port in found["ports"]
    ]


def until_told(session: "subprocess.Popen[str]", is_told: Callable[[Json], object]) -> str:
    """Wait until the status of the session's first port is so; return the status for people."""
    limit = time.monotonic() + LIMIT_S
    while not any(map(is_told, ports := ports_of(session))):
        assert time.monotonic() < limit, ports
    return status()


@contextmanager
def elsewhere(pod: Pod, *before: str) -> Iterator[None]:
    """A service in the pod's network, started by `before`."""
    command = ["nsenter", "-t", str(pod.pid), "-n", *before, sys.executable, "-c", SERVER, "other", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert next_line(process.stdout) == "ready"
        yield
        process.terminate()


def test_status_tells_of_running_sessions(pod: Pod, original: None, tmp_path: Path) -> None:
    def status(*options: str) -> str:
        command = [sys.executable, "-m", "inpod", "status", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout

    with developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")) as alice:
        answers(pod, get("/1", X_User="bob"), get("/2", X_User="alice"))
        event(alice, "PortTraffic")
        mine = [session for session in json.loads(status("-o", "json")) if session["pid"] == alice.pid]
        assert [(port["port"], port["seen"], port["matched"]) for port in mine[0]["ports"]] == [(PORT, 2, 1)]
        text = status()
        assert f"process {alice.pid}" in text
        assert "2 requests seen, 1 to the program, 1 to the target itself" in text
        assert "the last one that passed: GET /1" in text
    assert not [session for session in json.loads(status("-o", "json")) if session["pid"] == alice.pid]


@pytest.mark.parametrize("mode", ["steal", "mirror"])
def test_what_came_and_what_the_program_did_not_take(pod: Pod, original: None, tmp_path: Path, mode: str) -> None:
    call = "import socket, sys; socket.create_connection((sys.argv[1], 8080), 10).recv(1)"
    with developer(pod, tmp_path, "alice", {"mode": mode}) as alice:
        answers(pod, get())
        answers(pod, get())
        if mode == "steal":
            with pytest.raises(subprocess.CalledProcessError):
                in_network_of(pod.pid, call, "fd77::1")
        text = until_told(alice, lambda port: port["connections"] == (3 if mode == "steal" else 2))
        if mode == "steal":
            assert "3 connections came to the program" in text
            assert "1 not taken, the last: what fd77::1 called at fd77::1: no listener" in text
        assert ports_of(alice)[0]["refused"] == (1 if mode == "steal" else 0)


def test_peers_of_udp_are_counted_and_the_loss_of_a_port_is_told(pod: Pod, tmp_path: Path) -> None:
    with udp_developer(pod, tmp_path, "alice") as alice:
        event(alice, "PortSubscribed")
        until_udp_served(pod, "alice")
        text = until_told(alice, lambda port: port["connections"])
        assert f"UDP port {UDP_PORT} goes to" in text
        assert " came to the program" in text
        with udp_developer(pod, tmp_path, "bob", on_concurrent_steal="override"):
            text = until_told(alice, lambda port: "no longer" in str(port["note"]))
            assert f"The pod's UDP port {UDP_PORT} is no longer this session's" in text


def test_a_port_that_nothing_in_the_pod_serves_is_told(pod: Pod, tmp_path: Path) -> None:
    with elsewhere(pod), udp_developer(pod, tmp_path, "alice") as alice:
        assert "nothing in the pod has this UDP port" in str(event(alice, "Note")["text"])
    config: Json = {"mode": "steal", "port_mapping": [[PORT, 9876]]}
    with elsewhere(pod), developer(pod, tmp_path, "alice", config) as alice:
        note = event(alice, "Note")
        assert (note["level"], note["port"]) == ("info", 9876)
        assert "nothing in the pod listens there; it listens on " in str(note["text"])
        assert str(PORT) in str(note["text"])
        assert "port 9876 goes to" in until_told(alice, lambda port: "nothing in the pod" in str(port["note"]))


def test_a_port_of_another_container_is_told(pod: Pod, tmp_path: Path) -> None:
    with elsewhere(pod, "unshare", "--mount"), developer(pod, tmp_path, "alice", {"mode": "steal"}) as alice:
        assert "in another container than this session's" in str(event(alice, "Note")["text"])
        assert answers(pod, get()) == ["alice GET / 0"]


def test_a_copy_that_cannot_begin_yet_is_told(pod: Pod, original: None, tmp_path: Path) -> None:
    code = """
import socket, sys
sock = socket.create_connection(("10.77.0.1", 8080), 10)
print("connected", flush=True)
sys.stdin.readline()
"""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert next_line(client.stdout) == "connected"
        with developer(pod, tmp_path, "alice", {"mode": "mirror"}) as alice:
            assert event(alice, "PortTraffic")["stayed"] == 1
            assert "1 older connection left to the target" in until_told(alice, lambda port: port["stayed"])
        client.communicate("\n")


def test_what_a_caller_says_moves_nothing_on_the_terminal(pod: Pod, original: None, tmp_path: Path) -> None:
    escape = b"/\x1b]0;title\x07\x1b[2J\x9b2J"
    asked = hpack.encode(((b":method", b"GET"), (b":scheme", b"http"), (b":path", escape), (b":authority", b"pod")))
    said = PREFACE + frames.settings({}) + frames.headers(frames.END_STREAM, 1, asked)
    call = f"import socket; s = socket.create_connection(('10.77.0.1', {PORT}), 10); s.sendall({said!r}); s.recv(9)"
    with developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")) as alice:
        in_network_of(pod.pid, call)
        while "not for this program" not in (note := str(event(alice, "Note")["text"])):
            pass
        shown = until_told(alice, lambda port: port["passed"])
    for text in (note, *shown.splitlines()):
        assert text.isprintable()
    assert "GET / ]0;title  [2J 2J: header_filter" in note
    assert "GET / ]0;title  [2J 2J: header_filter" in shown
