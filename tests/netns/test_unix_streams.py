"""Unix sockets of the pod that the program connects to; under both interceptors."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from socket import AF_UNIX, socket

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
