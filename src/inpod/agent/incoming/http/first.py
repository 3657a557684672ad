"""The first bytes of a connection: HTTP/2's preface, and whether there are any."""

import asyncio
import socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What begins a connection of HTTP/2 with prior knowledge (RFC 9113 section 3.4)."""


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
