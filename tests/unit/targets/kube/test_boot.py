"""The first program of an agent's container, run as the container runs it; only the agent it loads is this test's."""

import asyncio
import contextlib
import io
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube import boot, bootstrap

LIMIT_S = 10.0
COUNTERSIGN = "of the agent"

AGENT = """
def run_listening(listener, token_sha256, countersign, *, first, container_id):
    first.sendall(container_id.encode() + b" " + first.recv(100))
    again = listener.accept()[0]
    again.sendall(b"again " + again.recv(100))
    raise SystemExit(0)
"""


@dataclass
class Container:
    """A running `boot`."""

    process: "subprocess.Popen[str]"
    token: str
    port: int

    def connect(self) -> socket.socket:
        """Connect as soon as it listens."""
        end = time.monotonic() + LIMIT_S
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
            assert time.monotonic() < end
            assert self.process.poll() is None


@pytest.fixture
def container() -> Iterator[Container]:
    """A container's command, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = bootstrap.Keys.new().token
    command = bootstrap.command(token, "c0ffee", port)
    program = command[command.index("-c") + 1]
    command[command.index("-c") + 1] = program.replace("NOBODY_LIMIT = 60.0", "NOBODY_LIMIT = 3.0")
    assert token not in " ".join(command)
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", *command[1:]],
        stderr=subprocess.PIPE,
        text=True,
        env={boot.COUNTERSIGN: COUNTERSIGN},
    )
    try:
        yield Container(process, token, port)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make AGENT the code that is sent."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inpod/__init__.py", "")
        archive.writestr("inpod/agent/__init__.py", "")
        archive.writestr("inpod/agent/main.py", AGENT)
    monkeypatch.setattr(bootstrap, "code", buffer.getvalue)


def send(sock: socket.socket, token: str, countersign: str = COUNTERSIGN) -> None:
    sock.setblocking(False)
    asyncio.run(bootstrap.send_code(sock, bootstrap.Keys(token, countersign)))
    sock.settimeout(LIMIT_S)


@pytest.mark.usefixtures("agent")
def test_client_with_the_token_brings_the_code_and_keeps_the_connection(container: Container) -> None:
    with container.connect() as sock:
        send(sock, container.token)
        sock.sendall(b"hello")
        assert sock.recv(100) == b"c0ffee hello"
    with container.connect() as sock:
        sock.sendall(b"me")
        assert sock.recv(100) == b"again me"
    assert container.process.wait(LIMIT_S) == 0


def test_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        command = bootstrap.command("token", "c0ffee", port)
        done = subprocess.run([sys.executable, *command[1:]], capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, done.stderr) == (1, f"inpod: port {port}: Address already in use\n")


@pytest.mark.usefixtures("agent")
def test_wrong_token_is_closed_and_the_right_one_still_admitted(container: Container) -> None:
    for wrong in (b"wrong\n", b"\n", b"x" * 5000, b"\xff\n", container.token[:-1].encode() + b"\n"):
        with container.connect() as sock:
            sock.sendall(wrong)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(100) == b""
    with container.connect() as sock, pytest.raises(bootstrap.NotReady):
        send(sock, "wrong")
    with container.connect() as sock:
        send(sock, container.token)


@pytest.mark.usefixtures("agent")
def test_another_countersign_is_not_the_agents(container: Container) -> None:
    with container.connect() as sock, pytest.raises(UserError, match="It is not the agent that answers") as caught:
        send(sock, container.token, "of somebody else")
    assert caught.value.exit_code == ExitCode.AGENT_START


def recognise(sock: socket.socket, countersign: str) -> None:
    sock.setblocking(False)
    asyncio.run(bootstrap.recognise(sock, bootstrap.Keys("", countersign)))
    sock.settimeout(LIMIT_S)


@pytest.mark.usefixtures("agent")
def test_who_asks_first_knows_the_agent_before_it_says_the_token(container: Container) -> None:
    with container.connect() as sock:
        recognise(sock, COUNTERSIGN)
        assert sock.recv(100) == b""
    with container.connect() as sock, pytest.raises(UserError, match="It is not the agent that answers"):
        recognise(sock, "of somebody else")
    with container.connect() as sock:
        sock.sendall(b"who " + b"x" * boot.MAX_TOKEN)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    with container.connect() as sock:
        send(sock, container.token)


@pytest.mark.usefixtures("agent")
def test_silent_strangers_keep_nobody_out(container: Container) -> None:
    with contextlib.ExitStack() as strangers:
        for _ in range(boot.MAX_STRANGERS + 6):
            strangers.enter_context(container.connect())
        with container.connect() as sock:
            started = time.monotonic()
            send(sock, container.token)
            assert time.monotonic() - started < 2


@pytest.mark.usefixtures("agent")
def test_slow_client_has_its_time_while_there_is_room(container: Container) -> None:
    with contextlib.ExitStack() as strangers:
        slow = strangers.enter_context(container.connect())
        for _ in range(boot.MAX_STRANGERS - 10):
            strangers.enter_context(container.connect())
        with container.connect() as last:
            last.sendall(b"wrong\n")
            assert last.recv(100) == b""  # all before it were accepted
        send(slow, container.token)


@pytest.mark.usefixtures("agent")
def test_code_cut_short_lets_the_next_one_in(container: Container) -> None:
    for start in (b"", b"100\nabc", b"x\n", b"99999999999\n", b"-1\n", b"123456789012345678"):
        with container.connect() as sock:
            sock.sendall(container.token.encode() + b"\n" + start)
            # It may be closed at the far end by the time.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(100) == b""
    with container.connect() as sock:
        send(sock, container.token)


def test_code_that_does_not_run_is_told_in_one_line(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "code", lambda: b"no zip at all")
    with container.connect() as sock, pytest.raises(UserError, match="ModuleNotFoundError") as caught:
        send(sock, container.token)
    assert caught.value.exit_code == ExitCode.AGENT_START
    assert container.process.wait(LIMIT_S) == 1


@pytest.mark.slow
def test_it_ends_when_nobody_comes(container: Container) -> None:
    with container.connect() as stranger:
        stranger.sendall(b"wrong\n")
        assert container.process.wait(LIMIT_S) == 1
    assert container.process.stderr is not None
    assert container.process.stderr.read() == "inpod: nobody came with the token\n"


def test_code_is_the_same_bytes_each_time_and_has_only_what_the_agent_needs() -> None:
    archive = bootstrap.code()
    bootstrap.code.cache_clear()
    assert bootstrap.code() == archive
    names = zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert {
        "inpod/__init__.py",
        "inpod/agent/main.py",
        "inpod/protocol/agent/codec.py",
        "inpod/tunnel/frames.py",
    } <= set(names)
    assert {name.split("/")[1] for name in names} == {"__init__.py", "agent", "dns", "protocol", "tunnel"}
    assert len(archive) < boot.MAX_CODE


def test_agent_of_the_package_imports_from_the_archive_alone() -> None:
    program = (
        "import os, sys\n"
        "fd = os.memfd_create('x')\n"
        "os.write(fd, sys.stdin.buffer.read())\n"
        "sys.path.insert(0, f'/proc/self/fd/{fd}')\n"
        "import inpod.agent.main as m\n"
        "print(m.__file__.startswith(f'/proc/self/fd/{fd}/'), callable(m.run_listening))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], input=bootstrap.code(), capture_output=True)
    assert done.stdout == b"True True\n", done.stderr.decode()
