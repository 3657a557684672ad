"""Serves client connections of a filtered port: HTTP/1 request by request, HTTP/2 by its own room, others whole."""

import asyncio
import socket
from typing import Protocol

from inpod.agent.incoming.http.choice import Chooser
from inpod.agent.incoming.http.client import OPEN_LIMIT_S, Client, ConnectOriginal
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.first import PREFACE, first_bytes, readable

SILENCE_LIMIT_S = 2.0
"""How long a client may say nothing before the original is connected, which may be the one to speak first."""


class ServeHttp2(Protocol):
    """Serves a connection of HTTP/2; takes over the client's socket."""

    async def __call__(
        self, client: socket.socket, first: bytes, chooser: Chooser, connect_original: ConnectOriginal, counts: Counts
    ) -> None:
        """Serve until the connection ended.

        Args:
            first: What was read from the client; begins with the whole preface.
        """


async def serve(
    client: socket.socket,
    chooser: Chooser,
    connect_original: ConnectOriginal,
    counts: Counts,
    serve_http2: ServeHttp2 | None = None,
) -> None:
    """Serve a client's connection until it ended; takes over its socket. Cancelling resets all.

    Args:
        client: Accepted, non-blocking.
        connect_original: Returns a new, non-blocking connection to the original, or raises OSError.
        serve_http2: Without it, HTTP/2 is passed to the original whole.
    """
    original: socket.socket | None = None
    is_handed_on = False
    try:
        first = await first_bytes(client, SILENCE_LIMIT_S)
        if first is None:
            original = await _connect(connect_original)
            await readable(*(sock for sock in (client, original) if sock is not None))
            first = await first_bytes(client, 0) or b""
        if serve_http2 is not None and first.startswith(PREFACE):
            is_handed_on = True
            ready, original = original, None
            await serve_http2(client, first, chooser, _first_ready(ready, connect_original), counts)
            return
        connection = Client(chooser, connect_original, counts)
        is_handed_on = True
        ready, original = original, None
        await connection.run(client, first, ready)
    except OSError:
        pass  # the client is gone
    finally:
        if not is_handed_on:
            client.close()
        if original is not None:
            original.close()


async def _connect(connect_original: ConnectOriginal) -> socket.socket | None:
    try:
        async with asyncio.timeout(OPEN_LIMIT_S):
            return await connect_original()
    except OSError:
        return None


def _first_ready(ready: socket.socket | None, connect_original: ConnectOriginal) -> ConnectOriginal:
    """Return what gives a connection that is there already, then new ones."""
    if ready is None:
        return connect_original
    left = [ready]

    async def connect() -> socket.socket:
        return left.pop() if left else await connect_original()

    return connect
