"""Serves client connections of a filtered port: HTTP/1 request by request, HTTP/2 by its own room, others whole."""

import socket
from typing import Protocol

from inpod.agent.incoming.http.choice import Chooser
from inpod.agent.incoming.http.client import Client, ConnectOriginal
from inpod.agent.incoming.http.counts import Counts


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
        serve_http2: Without it, HTTP/2 is passed to the original whole.
    """
    first = await Client(chooser, connect_original, counts, takes_http2=serve_http2 is not None).run(client)
    if first and serve_http2 is not None:
        await serve_http2(client, first, chooser, connect_original, counts)
