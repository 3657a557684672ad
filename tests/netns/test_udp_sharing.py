"""Several sessions that want one UDP port of a pod: whole sessions of `inpod exec -f`, and who answers each datagram."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.test_filter import warning
from tests.netns.test_session_udp import ask, ask_or_nothing
from tests.netns.test_udp_agent import PORT
from tests.netns.test_udp_agent import original as original  # the fixture
from tests.processes import LIMIT_S, end, next_line

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root"),
    pytest.mark.usefixtures("original"),
]

SERVER = f"""
import socket, sys
sock = socket.socket(type=socket.SOCK_DGRAM)
try:
    sock.bind(("0.0.0.0", {PORT}))
except OSError as error:
    sys.exit(error.strerror)
print("bound", *sock.getsockname(), flush=True)
while True:
    data, sender = sock.recvfrom(65536)
    sock.sendto(sys.argv[1].encode() + b" " + data, sender)
"""


@contextmanager
def developer(pod: Pod, folder: Path, name: str, **incoming: object) -> Iterator["subprocess.Popen[str]"]:
    """A session whose program answers with `name`."""
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"feature": {"network": {"incoming": {"mode": "steal", **incoming}}}}))
    options = ["-t", f"pid/{pod.pid}", "-f", str(config), "--progress", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "inpod", "exec", *options, "--", sys.executable, "-c", SERVER, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            yield process
        finally:
            end(process)


def until_served(pod: Pod, by: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while (found := ask_or_nothing(pod)) != [f"{by} x"]:
        assert time.monotonic() < limit, found


def test_a_port_can_be_taken_over(pod: Pod, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice") as alice:
        assert next_line(alice.stdout) == f"bound 0.0.0.0 {PORT}"
        assert ask(pod, "10.77.0.1", "one")[0] == ["alice one"]
        with developer(pod, tmp_path, "bob", on_concurrent_steal="override") as bob:
            assert next_line(bob.stdout) == f"bound 0.0.0.0 {PORT}"
            text = warning(alice)
            assert f"The pod's UDP port {PORT} is no longer this session's: " in text
            assert "@" in text
            until_served(pod, "bob")
        # Who was sent away does not come back by itself.
        until_served(pod, "original")
        assert alice.poll() is None


def test_a_program_can_go_on_without_a_port_that_is_taken(pod: Pod, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice") as alice:
        assert next_line(alice.stdout) == f"bound 0.0.0.0 {PORT}"
        with developer(pod, tmp_path, "bob", on_concurrent_steal="continue") as bob:
            text = warning(bob)
            assert f"steals UDP port {PORT} of this pod; the program goes on without it" in text
            assert next_line(bob.stdout).startswith("bound 0.0.0.0 ")
            assert ask(pod, "10.77.0.1", "one")[0] == ["alice one"]


def test_a_port_that_is_taken_is_refused_with_who_has_it(pod: Pod, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice") as alice:
        assert next_line(alice.stdout) == f"bound 0.0.0.0 {PORT}"
        with developer(pod, tmp_path, "bob") as bob:
            text = warning(bob)
            assert f"steals UDP port {PORT} of this pod" in text
            assert "@" in text
            assert bob.wait(LIMIT_S) == 1
            assert bob.stderr is not None
            assert "Address already in use" in bob.stderr.read()
        assert ask(pod, "10.77.0.1", "one")[0] == ["alice one"]


def test_a_silent_sessions_port_is_free_for_another(pod: Pod, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice") as alice:
        assert next_line(alice.stdout) == f"bound 0.0.0.0 {PORT}"
        alice.send_signal(signal.SIGSTOP)
        try:
            until_served(pod, "original")
            with developer(pod, tmp_path, "bob") as bob:
                assert next_line(bob.stdout) == f"bound 0.0.0.0 {PORT}"
                until_served(pod, "bob")
                alice.send_signal(signal.SIGCONT)
                text = warning(alice)
                assert f"steals UDP port {PORT} of this pod; until that ends nothing comes to this session" in text
            assert "it comes to this session again" in warning(alice)
            until_served(pod, "alice")
        finally:
            alice.send_signal(signal.SIGCONT)
