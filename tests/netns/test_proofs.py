"""Who may share a port: processes that may divert the network's connections by themselves, whatever else they are."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.netns.conftest import agent_environment
from tests.netns.test_redirect_rights import without
from tests.netns.traffic import Netns
from tests.processes import next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

HOST = """
import asyncio, sys
from inpod.agent.incoming.claims import claim
async def main():
    made = claim(8080, "tcp", "steal")
    assert made is not None
    made.listen()
    print("ready", flush=True)
    while True:
        sock, _ = await asyncio.get_running_loop().sock_accept(made.listener)
        with sock:
            try:
                async with asyncio.timeout(2):
                    is_guest = await made.prover.admit(sock)
                if is_guest:
                    sock.sendall(b"tunnel")
                print("admitted" if is_guest else "refused", flush=True)
            except OSError as error:
                print(type(error).__name__, flush=True)
asyncio.run(main())
"""

GUEST = """
import asyncio
from inpod.agent.incoming.claims import reach
from inpod.agent.incoming.proofs import introduce
async def main():
    sock = reach(8080, "tcp", "steal")
    try:
        async with asyncio.timeout(2):
            await introduce(sock, 8080, "tcp", "steal")
        print(await asyncio.get_running_loop().sock_recv(sock, 100))
    except OSError as error:
        print(type(error).__name__, error.strerror)
asyncio.run(main())
"""

STRANGER = """
import socket
sock = socket.socket(socket.AF_UNIX)
sock.connect("\\0inpod/steal/tcp/8080")
sock.sendall(bytes(16))
try: print(sock.recv(100))
except ConnectionResetError: print(b"")
"""
"""Has no right to ask for a secret, and makes one up."""

IMPOSTOR = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0inpod/steal/tcp/8080")
listener.listen()
if sys.argv[1:] == ["address"]:
    prover = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    prover.bind((0x49500000 + 8080, 0))
print("ready", flush=True)
sock, _ = listener.accept()
if sys.argv[1:] == ["address"]:
    secret, guest = prover.recvfrom(16)
    try: prover.sendto(bytes(16), guest)
    except OSError as error: print(error.strerror, flush=True)
    sock.sendall(secret)
sock.recv(16)
"""
"""Pretends to be a host."""


@pytest.fixture
def netns() -> Netns:
    return Netns()


@contextmanager
def running(before: list[str], code: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run Python code that prints "ready"."""
    command = [*before, sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=agent_environment()) as process:
        try:
            assert next_line(process.stdout) == "ready"
            yield process
        finally:
            process.kill()


def said(before: list[str], code: str) -> str:
    command = [*before, sys.executable, "-c", code]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=20, env=agent_environment()
    ).stdout.strip()


PLACES = {
    "beside": [],
    "in a pid namespace": ["unshare", "--pid", "--fork", "--kill-child"],
    "as another user": ["setpriv", "--reuid=1000", "--inh-caps=+net_admin", "--ambient-caps=+net_admin"],
}


@pytest.mark.parametrize("guest", PLACES)
@pytest.mark.parametrize("host", PLACES)
def test_agents_know_each_other_wherever_they_stand(netns: Netns, host: str, guest: str) -> None:
    join = ["nsenter", f"--net={netns.path}"]
    with running([*join, *PLACES[host]], HOST) as process:
        assert said([*join, *PLACES[guest]], GUEST) == "b'tunnel'"
        assert next_line(process.stdout) == "admitted"


def test_who_may_not_divert_is_no_guest(netns: Netns) -> None:
    with running(["nsenter", f"--net={netns.path}"], HOST) as process:
        before = without(netns, "net_admin")
        assert said(before, GUEST).startswith("PermissionError")
        assert next_line(process.stdout) == "refused"
        assert said(before, STRANGER) == "b''"
        assert next_line(process.stdout) == "refused"


def test_silent_stranger_is_no_guest(netns: Netns) -> None:
    """And keeps nobody out for longer than the limit."""
    connect = STRANGER.replace("sock.sendall(bytes(16))", "print('ready', flush=True)")
    with running(["nsenter", f"--net={netns.path}"], HOST) as process, running(without(netns, "net_admin"), connect):
        assert next_line(process.stdout) == "TimeoutError"
        assert said(["nsenter", f"--net={netns.path}"], GUEST) == "b'tunnel'"


def test_who_only_has_the_name_is_no_host(netns: Netns) -> None:
    with running(without(netns, "net_admin"), IMPOSTOR):
        text = "PermissionError something that is no agent holds the name for port 8080 of this pod"
        assert said(["nsenter", f"--net={netns.path}"], GUEST) == text


def test_who_may_not_divert_is_no_host(netns: Netns) -> None:
    """Though it has the name and the address: it can hear, but not answer."""
    with running(without(netns, "net_admin"), IMPOSTOR, "address") as process:
        assert said(["nsenter", f"--net={netns.path}"], GUEST) == "TimeoutError None"
        assert next_line(process.stdout) == "Operation not permitted"


def test_host_that_stands_still_is_waited_for_in_vain(netns: Netns) -> None:
    with running(["nsenter", f"--net={netns.path}"], HOST) as process:
        process.send_signal(signal.SIGSTOP)
        assert said(["nsenter", f"--net={netns.path}"], GUEST) == "TimeoutError None"
