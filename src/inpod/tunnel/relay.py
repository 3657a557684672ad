"""Joins a stream of the tunnel with a socket: bytes, half-closes, resets and slowness pass both ways."""

import asyncio
import contextlib
import socket
import struct
from typing import cast

from inpod.tunnel import outlets
from inpod.tunnel.stream import Stream

HIGH_WATER = 256 * 1024
"""Bytes that wait for a slow socket before the stream's sender gets no more credit."""

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""struct linger, on with 0 s: close(2) then sends RST instead of FIN (socket(7), tcp(7))."""


async def relay(stream: Stream, sock: socket.socket, *, discard: bool = False) -> None:
    """Pass bytes between `stream` and `sock` until both directions ended; takes over both.

    A reset of one is a reset of the other. A side that is slow slows the other, and nobody else. What the stream
    received before is passed on, too. Cancelling resets both.

    Args:
        discard: Throw away what the socket says: the stream is a copy that wants no answer.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    bridge = _Copy(stream, done) if discard else _Bridge(stream, done)
    try:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.create_connection(lambda: bridge, sock=sock)
    except BaseException as error:
        sock.close()
        stream.refuse()
        if not isinstance(error, OSError):
            raise
        return
    try:
        await done
    finally:
        bridge.reset()
        stream.refuse()


class _Bridge(asyncio.Protocol):
    """The socket's protocol and the stream's `Sink` in one, so that no byte waits for a task."""

    def __init__(self, stream: Stream, done: "asyncio.Future[None]") -> None:
        self._stream = stream
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._is_reading = True
        self._is_slow = False
        self._owed = 0
        self._socket_ended = False
        self._stream_ended = False

    # The socket's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        outlets.add(self._transport)
        self._stream.set_sink(self)

    def data_received(self, data: bytes) -> None:
        if not self._stream.send(data) and self._transport is not None:
            self._is_reading = False
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._socket_ended = True
        self._stream.write_eof()
        # False lets the transport close, once it has written all.
        return not self._stream_ended

    def pause_writing(self) -> None:
        self._is_slow = True

    def resume_writing(self) -> None:
        self._is_slow = False
        owed, self._owed = self._owed, 0
        self._stream.passed_on(owed)

    def connection_lost(self, exc: Exception | None) -> None:
        outlets.remove(self._transport)
        self._transport = None
        if exc is not None or not (self._socket_ended and self._stream_ended):
            self._stream.refuse()
        if not self._done.done():
            self._done.set_result(None)

    # The stream's side.

    def data(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._transport.write(data)
        if self._is_slow:
            self._owed += len(data)
        else:
            self._stream.passed_on(len(data))

    def eof(self) -> None:
        self._stream_ended = True
        if self._transport is None:
            return
        if self._socket_ended:
            self._transport.close()
        else:
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def reset(self) -> None:
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def writable(self) -> None:
        if not self._is_reading and self._transport is not None and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()


class _Copy(_Bridge):
    """A bridge towards the socket only; of the other direction nothing passes but its end."""

    def data_received(self, data: bytes) -> None:
        pass

    def eof(self) -> None:
        self._stream.write_eof()
        super().eof()
