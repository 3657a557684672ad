"""The first bytes of a connection: whether there are any."""

import asyncio
import socket


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
