"""Connections of our own to the original: what they hold is free when they are closed, in whichever way."""

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from inpod.agent.incoming.redirect import original
from inpod.agent.incoming.redirect.base import Redirect
from inpod.agent.incoming.redirect.choose import choose
from inpod.agent.incoming.redirect.original import connect_original
from inpod.protocol.agent import Address
from inpod.tunnel import local_ports
from inpod.tunnel.transport import open_transport
from tests.netns.redirects import TECHNIQUES
from tests.netns.traffic import POD_IPV4, POD_IPV6, Hosts, Original, two_hosts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT = 8080
UNREACHABLE = "10.88.0.99"
COUNT = 30

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        served = Original(hosts.pod, "::", PORT)
        yield hosts
        served.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest, hosts: Hosts) -> Run:
    """Runs a coroutine in the pod."""
    if request.param == "asyncio":
        return lambda main: hosts.pod.inside(lambda: asyncio.run(main))
    uvloop = pytest.importorskip("uvloop")
    return lambda main: hosts.pod.inside(lambda: uvloop.run(main))


async def connected(redirect: Redirect, called: Address) -> socket.socket:
    found = connect_original(redirect, called)
    return found if isinstance(found, socket.socket) else await found


async def by_close(sock: socket.socket) -> None:
    assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"original\n"
    sock.close()


class _Reader(asyncio.Protocol):
    """Notes the first that comes, and the end."""

    def __init__(self) -> None:
        self.read: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if not self.read.done():
            self.read.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


async def by_transport(sock: socket.socket) -> None:
    reader = _Reader()
    transport = open_transport(sock, reader)
    assert await reader.read == b"original\n"
    transport.close()
    await reader.lost


async def by_abort(sock: socket.socket) -> None:
    reader = _Reader()
    open_transport(sock, reader).abort()
    await reader.lost


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("end", [by_close, by_transport, by_abort])
def test_closed_connection_holds_nothing(
    run: Run, technique: str, end: Callable[[socket.socket], Coroutine[Any, Any, None]]
) -> None:
    undone: list[str] = []

    async def scenario() -> None:
        redirect = choose(technique)  # type: ignore[arg-type]  # a parameter
        try:
            redirect.steal(PORT)
            redirect.beat()
            for ip in (POD_IPV4, POD_IPV6) * COUNT:
                sock = await connected(redirect, Address(ip, PORT))
                assert (ip, sock.getsockname()[1]) in original._PORTS._taken
                sock.at_close.append(lambda ip=ip: undone.append(ip))  # type: ignore[attr-defined]  # ours to see
                await end(sock)
            await asyncio.sleep(0)
        finally:
            redirect.close()
        assert not original._PORTS._taken

    run(scenario())
    assert len(undone) == 2 * COUNT


def test_refused_connection_holds_nothing(run: Run) -> None:
    async def scenario() -> None:
        redirect: Redirect = choose()
        try:
            with pytest.raises(ConnectionRefusedError):
                await connected(redirect, Address(POD_IPV4, PORT + 1))
            with pytest.raises(OSError, match="assign requested address"):
                await connected(redirect, Address(UNREACHABLE, PORT))
        finally:
            redirect.close()
        assert not original._PORTS._taken

    run(scenario())


def test_forgotten_connection_holds_nothing() -> None:
    undone: list[str] = []
    sock = original._Exempt(socket.AF_INET)
    sock.at_close.append(lambda: undone.append("all"))
    with pytest.warns(ResourceWarning):
        del sock
    assert undone == ["all"]


def test_port_that_is_reserved_is_left_alone(run: Run, hosts: Hosts) -> None:
    hosts.pod.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40010")
    hosts.pod.run("sysctl", "-qw", "net.ipv4.ip_local_reserved_ports=40001,40003-40007")

    async def scenario() -> None:
        redirect = choose()
        try:
            with await connected(redirect, Address(POD_IPV4, PORT)) as sock:
                assert sock.getsockname()[1] == 40009
        finally:
            redirect.close()

    local_ports._local_ports.cache_clear()
    try:
        run(scenario())
    finally:
        local_ports._local_ports.cache_clear()
