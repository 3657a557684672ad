"""UDP servers and an agent of this machine, for the tests of both ends."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from inpod.agent.dispatch import Abilities, serve
from inpod.agent.target import Target
from inpod.protocol.datagrams import MAX_DATAGRAM
from inpod.tunnel.streams import Stream, Tunnel

LIMIT_S = 10.0

SIZES = (0, 1, 512, 1400, 9000, MAX_DATAGRAM)


def udp_server(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Return a bound socket whose calls end after LIMIT_S."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(LIMIT_S)
    sock.bind((host, port))
    return sock


def free_port() -> int:
    """Return a UDP port of 127.0.0.1 at which nobody is."""
    with udp_server() as sock:
        return int(sock.getsockname()[1])


async def receive(sock: socket.socket) -> bytes:
    """Return the next datagram, while the loop goes on."""
    return await asyncio.to_thread(sock.recv, MAX_DATAGRAM + 1)


async def receive_from(sock: socket.socket) -> tuple[bytes, tuple[str, int]]:
    """Return the next datagram and its sender, while the loop goes on."""
    return await asyncio.to_thread(sock.recvfrom, MAX_DATAGRAM + 1)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until the kernel's state, for which there is no event, is as wanted."""
    async with asyncio.timeout(LIMIT_S):
        while not is_so():  # noqa: ASYNC110  # the kernel gives no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def agent_tunnel(abilities: Abilities | None = None) -> AsyncIterator[Tunnel]:
    """The session's end of a tunnel to an agent's dispatch, with this machine as its target."""
    here, there = socket.socketpair()
    serving = asyncio.ensure_future(serve(there, abilities or Abilities(Target("this machine"))))
    tunnel = Tunnel(initiator=True, on_stream=_no_stream)
    await tunnel.attach(here)
    try:
        yield tunnel
    finally:
        tunnel.close()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(serving, LIMIT_S)


def _no_stream(stream: Stream, head: bytes) -> None:
    stream.refuse()
