"""Lets in who knows the token: for an agent that others could reach too, and whose session may come back."""

import asyncio
import contextlib
import hashlib
import hmac
import socket

from inpod.tunnel.acceptor import Acceptor

MAX_TOKEN_BYTES = 128
TOKEN_LIMIT_S = 5.0
MAX_AT_THE_DOOR = 64
"""Connections that may be presenting a token at a time; a further one has the place of the oldest, so silent ones keep nobody out."""


class Door:
    """Accepts connections on a listener and keeps the newest that presented the token.

    A client begins with one line, the token, and is answered one: "ready" and the countersign. What follows is the tunnel.

    Args:
        token_sha256: Hash of the token, in hexadecimal.
        countersign: By which the client knows that this is the agent.
    """

    def __init__(self, listener: socket.socket, token_sha256: str, countersign: str) -> None:
        self._listener = listener
        self._token_sha256 = token_sha256
        self._countersign = countersign
        self._newest: socket.socket | None = None
        self._came = asyncio.Event()

    async def run(self) -> None:
        """Accept until cancelled."""
        self._listener.setblocking(False)
        examining: dict[asyncio.Task[None], None] = {}
        async with asyncio.TaskGroup() as group:

            def take(sock: socket.socket, _: object) -> None:
                task = group.create_task(self._examine(sock))
                examining[task] = None
                task.add_done_callback(lambda done: examining.pop(done, None))
                if len(examining) > MAX_AT_THE_DOOR:
                    oldest = next(iter(examining))
                    del examining[oldest]
                    oldest.cancel()

            # One in a turn of the loop: each is to begin, and what it said already be read, before the next one comes.
            with contextlib.closing(Acceptor([self._listener], take)):
                await asyncio.get_running_loop().create_future()

    async def next(self) -> socket.socket:
        """Wait for a client that presented the token; the caller owns the socket."""
        while True:
            await self._came.wait()
            self._came.clear()
            if (sock := self._newest) is not None:
                self._newest = None
                return sock

    async def _examine(self, sock: socket.socket) -> None:
        is_known = False
        try:
            # Ended and silent connections are strangers as well.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(TOKEN_LIMIT_S):
                    token = await _read_line(sock)
                    if hmac.compare_digest(hashlib.sha256(token).hexdigest(), self._token_sha256):
                        answer = f"ready {self._countersign}\n".encode()
                        await asyncio.get_running_loop().sock_sendall(sock, answer)
                        is_known = True
        finally:
            if not is_known:
                sock.close()
        if is_known:
            if self._newest is not None:
                self._newest.close()
            self._newest = sock
            self._came.set()


async def _read_line(sock: socket.socket) -> bytes:
    """Return a line without its end, or nothing when there is none; reads not a byte more, for the tunnel follows."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    line = b""
    while len(line) <= MAX_TOKEN_BYTES and (byte := await loop.sock_recv(sock, 1)):
        if byte == b"\n":
            return line
        line += byte
    return b""
