"""Talks with one name server: queries go there and messages come back, as bytes."""

import asyncio
import socket
from collections.abc import Callable, Iterable

from inpod.dns.messages import MessageError

DNS_PORT = 53
MAX_MESSAGE = 65535


async def ask_by_udp(
    server: str, port: int, queries: Iterable[bytes], take: Callable[[bytes], bool], *, limit_s: float
) -> None:
    """Send queries and hand each message that comes to `take`, until that returns True. It must not raise.

    All go through one socket, as libc's do. It is connected, so that the kernel drops what comes from elsewhere, reports a
    closed port at once and chooses a random port of its own each time.

    Raises:
        OSError: The server cannot be reached.
        TimeoutError: `take` has not said True within `limit_s`.
    """
    loop = asyncio.get_running_loop()
    # Not `loop.sock_recv`: the kernel would be told of the socket anew for each answer.
    done: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        try:
            while not done.done():
                if take(sock.recv(MAX_MESSAGE)):
                    done.set_result(None)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            done.set_exception(error)

    def expire() -> None:
        if not done.done():
            done.set_exception(TimeoutError())

    with socket.socket(family_of(server), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect((server, port))
        for query in queries:
            sock.send(query)
        loop.add_reader(sock, read)
        limit = loop.call_later(limit_s, expire)
        try:
            await done
        finally:
            limit.cancel()
            loop.remove_reader(sock)


async def ask_by_tcp(server: str, port: int, query: bytes, *, limit_s: float) -> bytes:
    """Return a server's next message upon a query.

    Raises:
        OSError: No connection.
        TimeoutError: None came within `limit_s`.
        MessageError: It ended before.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(family_of(server), socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        async with asyncio.timeout(limit_s):
            await loop.sock_connect(sock, (server, port))
            await loop.sock_sendall(sock, len(query).to_bytes(2) + query)
            length = int.from_bytes(await _receive(loop, sock, 2))
            return await _receive(loop, sock, length)


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address in text form."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def _receive(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            raise MessageError("the server ended the connection")
        data += more
    return data
