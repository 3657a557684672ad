"""Joins a stream of the tunnel with a socket: bytes, half-closes, resets and slowness pass both ways."""

import asyncio
import contextlib
import socket
import struct
from typing import cast

from inpod.tunnel.streams import Stream

HIGH_WATER = 256 * 1024
"""Bytes that wait for a slow socket before the stream's sender gets no more credit."""


class _Relay(asyncio.Protocol):
    def __init__(self, stream: Stream, done: "asyncio.Future[None]", *, discard: bool) -> None:
        self._stream = stream
        self._done = done
        self._discard = discard
        self._transport: asyncio.Transport | None = None
        self._is_slow = False
        self._owed = 0
        self._socket_ended = False
        self._stream_ended = False

    # The socket's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._stream.set_sink(self)

    def data_received(self, data: bytes) -> None:
        if self._discard:
            return
        if not self._stream.send(data) and self._transport is not None:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._socket_ended = True
        if not self._discard or self._stream_ended:
            self._stream.write_eof()
        return not self._stream_ended

    def pause_writing(self) -> None:
        self._is_slow = True

    def resume_writing(self) -> None:
        self._is_slow = False
        owed, self._owed = self._owed, 0
        self._stream.consumed(owed)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if exc is not None or not (self._socket_ended and self._stream_ended):
            self._stream.refuse()
        if not self._done.done():
            self._done.set_result(None)

    # The stream's side.

    def data(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._is_slow:
            self._owed += len(data)
        else:
            self._stream.consumed(len(data))

    def eof(self) -> None:
        self._stream_ended = True
        if self._discard:
            self._stream.write_eof()
        if self._transport is None:
            return
        if self._socket_ended:
            self._transport.close()
        else:
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def reset(self, payload: bytes) -> None:
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def writable(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


async def relay(stream: Stream, sock: socket.socket, *, discard: bool = False) -> None:
    """Pass bytes between `stream` and `sock` until both directions ended; takes over both.

    A reset of one is a reset of the other. A side that is slow slows the other, and nobody else.

    Args:
        discard: Throw away what the socket says: the stream is a copy that wants no answer.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        await loop.create_connection(lambda: _Relay(stream, done, discard=discard), sock=sock)
    except OSError:
        sock.close()
        stream.refuse()
        return
    try:
        await done
    finally:
        stream.refuse()
