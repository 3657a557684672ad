"""Joins a stream of the tunnel with a socket: bytes, half-closes, resets and slowness pass both ways.

Without a transport of the loop and without a task: a connection may live for one byte.
"""

import asyncio
import socket
from collections.abc import Callable

from inpod.tunnel import outlets
from inpod.tunnel.stream import Stream
from inpod.tunnel.transport import Transport, abort_with_reset, open_transport


async def relay(stream: Stream, sock: socket.socket) -> None:
    """Pass bytes between `stream` and `sock` until both directions ended, as `join`. Cancelling resets both."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not done.done():
            done.set_result(None)

    bridge = join(stream, sock, end)
    try:
        await done
    finally:
        bridge.reset()


def join(stream: Stream, sock: socket.socket, on_end: Callable[[], None]) -> "Bridge":
    """Pass bytes between `stream` and `sock` from now on; takes over both, and calls `on_end` once both have ended.

    A reset of one is a reset of the other. A side that is slow slows the other, and nobody else. What the stream
    received before is passed on, too.
    """
    bridge = Bridge(stream, on_end)
    bridge.begin(sock)
    return bridge


class Bridge(asyncio.Protocol):
    """The socket's protocol and the stream's `Sink` in one, so that no byte waits for a task."""

    __slots__ = ("_is_slow", "_on_end", "_owed", "_socket_ended", "_stream", "_stream_ended", "_transport")

    def __init__(self, stream: Stream, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._on_end = on_end
        self._transport: Transport | None = None
        self._is_slow = False
        self._owed = 0
        self._socket_ended = False
        self._stream_ended = False

    def begin(self, sock: socket.socket) -> None:
        """Take the socket over."""
        sock.setblocking(False)
        try:
            open_transport(sock, self)
        except OSError:
            # The kernel watches no more sockets (fs.epoll.max_user_watches): this one ends, as by a reset.
            sock.close()
            asyncio.get_running_loop().call_soon(self.connection_lost, None)

    # The socket's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, Transport)
        self._transport = transport
        outlets.add(transport)
        self._stream.set_sink(self)

    def data_received(self, data: bytes) -> None:
        """Send what the socket said, and let it wait while the stream is slower."""
        if not self._stream.send(data) and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Pass the end on; let the transport close when both have ended."""
        self._socket_ended = True
        self._stream.write_eof()
        return not self._stream_ended

    def pause_writing(self) -> None:
        """Give the stream's sender no more credit."""
        self._is_slow = True

    def resume_writing(self) -> None:
        """Give it what is owed."""
        self._is_slow = False
        owed, self._owed = self._owed, 0
        self._stream.passed_on(owed)

    def connection_lost(self, exc: Exception | None) -> None:
        """Both have ended, or the socket failed."""
        outlets.remove(self._transport)
        self._transport = None
        self._stream.refuse()
        self._on_end()

    # The stream's side.

    def data(self, data: bytes) -> None:
        """Pass on what the stream received."""
        if self._transport is None:
            return
        self._transport.write(data)
        if self._is_slow:
            self._owed += len(data)
        else:
            self._stream.passed_on(len(data))

    def eof(self) -> None:
        """Say no more, once all is said."""
        self._stream_ended = True
        if self._transport is None:
            return
        if self._socket_ended:
            self._transport.close()
        else:
            self._transport.write_eof()

    def reset(self) -> None:
        """End both at once, if they have not ended."""
        if self._transport is not None:
            abort_with_reset(self._transport)

    def writable(self) -> None:
        """Read on."""
        if self._transport is not None:
            self._transport.resume_reading()
