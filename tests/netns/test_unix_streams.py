"""Unix sockets of the pod that the program connects to; under both interceptors."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM, socket

import pytest

from tests.netns.conftest import Pod
from tests.netns.session import ROOT
from tests.processes import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

PATH = "/srv/agent.sock"

TALK = """
import errno, socket, sys
for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        try:
            sock.connect(path)
            sock.sendall(b"x" * 3_000_000)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while part := sock.recv(65536):
                answer += part
            print(answer.decode())
        except OSError as error:
            print(errno.errorcode[error.errno])
"""


@pytest.fixture
def service(pod: Pod) -> Iterator[None]:
    """Tells how much it got, at the end of what it got."""
    path = Path(f"/proc/{pod.pid}/root{PATH}")
    with socket(AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    size = 0
                    while part := connection.recv(65536):
                        size += len(part)
                    connection.sendall(b"the pod got %d" % size)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(2)
            thread.join(LIMIT_S)
            path.unlink()


def talk(pod: Pod, folder: Path, interceptor: str, unix_streams: object, *paths: str) -> list[str]:
    file = folder / "inpod.json"
    network = {"outgoing": {"unix_streams": unix_streams}}
    file.write_text(json.dumps({"interceptor": interceptor, "feature": {"network": network}}))
    words = ["-t", f"pid/{pod.pid}", "-f", str(file), "--progress", "off", "--", sys.executable, "-c", TALK]
    done = subprocess.run(
        [sys.executable, "-m", "inpod", "exec", *words, *paths],
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_chosen_sockets_are_the_pods(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    assert talk(pod, tmp_path, interceptor, "^/srv/.*sock$", PATH, PATH) == ["the pod got 3000000"] * 2
    assert talk(pod, tmp_path, interceptor, ["other", "agent"], PATH) == ["the pod got 3000000"]
    assert talk(pod, tmp_path, interceptor, ["^agent"], PATH) == ["ENOENT"]
    assert talk(pod, tmp_path, interceptor, None, PATH) == ["ENOENT"]


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_errors_are_the_pods(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    gone = Path(f"/proc/{pod.pid}/root/srv/gone.sock")
    with socket(AF_UNIX) as closed:
        closed.bind(str(gone))
    try:
        wanted = ["/srv/gone.sock", "/srv/none.sock", "/srv/app/config"]
        assert talk(pod, tmp_path, interceptor, "/srv/", *wanted) == ["ECONNREFUSED", "ENOENT", "ECONNREFUSED"]
    finally:
        gone.unlink()


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_own_sockets_stay_here(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    """One that the pattern leaves out, and an abstract one."""
    code = (
        "import socket, sys\nfor name in (sys.argv[1], chr(0) + 'inpod-test'):\n"
        "    listener, sock = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)\n"
        "    listener.bind(name); listener.listen(); sock.connect(name); sock.send(b'here')\n"
        "    print(listener.accept()[0].recv(9).decode())"
    )
    file = tmp_path / "inpod.json"
    network = {"outgoing": {"unix_streams": "^/srv/"}}
    file.write_text(json.dumps({"interceptor": interceptor, "feature": {"network": network}}))
    words = ["-t", f"pid/{pod.pid}", "-f", str(file), "--", sys.executable, "-c", code, str(tmp_path / "own.sock")]
    done = subprocess.run(
        [sys.executable, "-m", "inpod", "exec", *words], capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT
    )
    assert done.stdout == "here\nhere\n", done.stderr


MESSAGES = """
import errno, socket, sys
kind = getattr(socket, sys.argv[1])
with socket.socket(socket.AF_UNIX, kind) as sock:
    sock.settimeout(10)
    try:
        sock.connect("/srv/messages.sock")
        for size in (1, 0, 65508, 150_000):
            sock.send(bytes(size))
            print(len(sock.recv(1 << 20)), end=" ")
        for number in range(500):
            sock.send(b"%d" % number)
        sock.shutdown(socket.SHUT_WR)
        found = []
        while message := sock.recv(1 << 20):
            found.append(int(message))
        print(found == list(range(500)))
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


@pytest.fixture
def echo(pod: Pod) -> Iterator[list[int]]:
    """Says each message again, and keeps how long it was; at the end of them it ends."""
    path = Path(f"/proc/{pod.pid}/root/srv/messages.sock")
    seen: list[int] = []
    with socket(AF_UNIX, SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as connection:
                # Four of them, of which one is empty: as their end is.
                while (message := connection.recv(1 << 20)) or len(seen) < 4:
                    seen.append(len(message))
                    connection.send(message)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield seen
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        finally:
            path.unlink()


def exchange(pod: Pod, folder: Path, interceptor: str, kind: str) -> str:
    file = folder / "inpod.json"
    network = {"outgoing": {"unix_streams": "^/srv/"}}
    file.write_text(json.dumps({"interceptor": interceptor, "feature": {"network": network}}))
    words = ["-t", f"pid/{pod.pid}", "-f", str(file), "--progress", "off", "--", sys.executable, "-c", MESSAGES, kind]
    done = subprocess.run(
        [sys.executable, "-m", "inpod", "exec", *words], capture_output=True, text=True, timeout=2 * LIMIT_S, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_messages_of_chosen_sockets_stay_whole(pod: Pod, tmp_path: Path, interceptor: str, echo: list[int]) -> None:
    assert exchange(pod, tmp_path, interceptor, "SOCK_SEQPACKET") == "1 0 65508 150000 True\n"
    assert echo == [1, 0, 65508, 150_000, *(len(str(number)) for number in range(500))]


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.parametrize(("kind", "other"), [("SOCK_SEQPACKET", SOCK_STREAM), ("SOCK_STREAM", SOCK_SEQPACKET)])
def test_socket_of_another_kind_is_the_errno_of_that(
    pod: Pod, tmp_path: Path, interceptor: str, kind: str, other: int
) -> None:
    path = Path(f"/proc/{pod.pid}/root/srv/messages.sock")
    with socket(AF_UNIX, other) as listener:
        listener.bind(str(path))
        listener.listen()
        try:
            assert exchange(pod, tmp_path, interceptor, kind) == "EPROTOTYPE\n"
        finally:
            path.unlink()
