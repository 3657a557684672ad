"""The first bytes of a connection: whether the client speaks at all, and HTTP/2's preface."""

import asyncio
import contextlib
import socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What begins a connection of HTTP/2 with prior knowledge (RFC 9113 section 3.4)."""

_RECEIVE_BYTES = 64 * 1024


async def first_bytes(client: socket.socket, limit_s: float) -> bytes | None:
    """Return what the client sends first, with HTTP/2's preface whole; b"" when it ended, None when it says nothing.

    Raises:
        OSError: The client is gone.
    """
    data = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            while not data or (len(data) < len(PREFACE) and PREFACE.startswith(data)):
                try:
                    more = client.recv(_RECEIVE_BYTES)
                except BlockingIOError:
                    await readable(client)
                    continue
                if not more:
                    return data
                data += more
            return data
    return data or None


async def readable(*socks: socket.socket) -> None:
    """Wait until one of some sockets has something to read, without reading it."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    for sock in socks:
        loop.add_reader(sock, wake)
    try:
        await ready
    finally:
        for sock in socks:
            loop.remove_reader(sock)
