"""The mux on asyncio: a `Tunnel` over one connected socket, and its `Stream`s.

Small frames of one loop turn are joined into one write; large ones go out without being copied. Both ends ping, so
that each knows when the other was last alive (`Tunnel.last_heard`).
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Protocol, cast

from inpod.tunnel.frames import HEADER, MAX_PAYLOAD, FrameError, Kind, decode, encode
from inpod.tunnel.mux import Mux

PING_EVERY_S = 0.5
BUFFER = 512 * 1024
JOIN_BELOW = 8192
"""Pieces shorter than this are copied together: one system call beats the copy."""
MAX_ANSWER = 64 * 1024 * 1024
"""Most bytes that `fetch` collects."""


class StreamRefused(Exception):
    """The peer ended the stream by RESET, or the link is gone.

    Attributes:
        payload: What the peer gave as its reason; b"" when the link was lost.
    """

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload.decode(errors="replace") or "the link was lost")
        self.payload = payload


class Sink(Protocol):
    """Who takes what a stream receives, at once and in order."""

    def data(self, data: bytes) -> None:
        """Bytes came; call `Stream.consumed` once they are passed on."""

    def eof(self) -> None:
        """No more bytes will come."""

    def reset(self, payload: bytes) -> None:
        """The stream is gone."""

    def writable(self) -> None:
        """All that was given to `Stream.send` is on its way: more may be sent."""


class Stream:
    """One stream of a tunnel. Either `read` it, or give it a `Sink`."""

    def __init__(self, tunnel: "Tunnel", number: int) -> None:
        self.tunnel = tunnel
        self.number = number
        self.closed = False
        self.on_closed: Callable[[], None] | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._sink: Sink | None = None
        self._received: list[bytes] = []
        self._received_eof = False
        self._reset: bytes | None = None
        self._wake: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._pending = b""
        self._eof_wanted = False

    async def accepted(self) -> bytes:
        """Wait until the peer took the stream; return its answer.

        Raises:
            StreamRefused: It did not.
        """
        if self._reset is not None:
            raise StreamRefused(self._reset)
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
        return await self._answer

    def accept(self, head: bytes = b"") -> None:
        """Take a stream that the peer opened."""
        self.tunnel.mux.accept(self.number, head)
        self.tunnel.flush_soon()

    def refuse(self, payload: bytes = b"") -> None:
        """End the stream at once, both ways; also to abort it later."""
        if not self.closed:
            self.tunnel.mux.reset(self.number, payload)
            self.tunnel.flush_soon()
            self._end(payload)

    def send(self, data: bytes) -> bool:
        """Send, or keep what exceeds the credit; return whether more may be given now (else wait for `writable`)."""
        if self.closed:
            return True
        if self._pending:
            self._pending += data
            return False
        sent = self.tunnel.mux.send(self.number, data)
        self.tunnel.flush_soon()
        if sent < len(data):
            self._pending = data[sent:]
            return False
        return not self.tunnel.is_full

    async def write(self, data: bytes) -> None:
        """Send, and wait while the peer or the link is slower.

        Raises:
            StreamRefused: The stream is gone.
        """
        for at in range(0, len(data), MAX_PAYLOAD):
            while self._pending or self.tunnel.is_full:
                await self._until_writable()
            if self._reset is not None:
                raise StreamRefused(self._reset)
            self.send(data[at : at + MAX_PAYLOAD])

    def write_eof(self) -> None:
        """Say that no more data comes, once all is sent."""
        if self._pending:
            self._eof_wanted = True
        else:
            self.tunnel.mux.send_eof(self.number)
            self.tunnel.flush_soon()
            self._check_ended()

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end.

        Raises:
            StreamRefused: The peer reset the stream, or the link is gone.
        """
        while not self._received:
            if self._received_eof:
                return b""
            if self._reset is not None:
                raise StreamRefused(self._reset)
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        data = b"".join(self._received)
        self._received.clear()
        self.consumed(len(data))
        return data

    def consumed(self, size: int) -> None:
        """Give the peer credit for bytes that were passed on."""
        mux = self.tunnel.mux
        mux.consumed(self.number, size)
        if mux.out:
            self.tunnel.flush_soon()

    def set_sink(self, sink: Sink) -> None:
        """Hand all that was and will be received to `sink`."""
        self._sink = sink
        for data in self._received:
            sink.data(data)
        self._received = []
        if self._received_eof:
            sink.eof()
        if self._reset is not None:
            sink.reset(self._reset)

    async def _until_writable(self) -> None:
        if self._reset is not None:
            raise StreamRefused(self._reset)
        if self._writable is None or self._writable.done():
            self._writable = asyncio.get_running_loop().create_future()
        await self._writable

    # What the tunnel calls.

    def on_answer(self, payload: bytes) -> None:
        """ACCEPT came."""
        if self._answer is None:
            self._answer = asyncio.get_running_loop().create_future()
        if not self._answer.done():
            self._answer.set_result(payload)

    def on_data(self, data: bytes) -> None:
        """DATA came."""
        if self._sink is not None:
            self._sink.data(data)
        else:
            self._received.append(data)
            self._wake_reader()

    def on_eof(self) -> None:
        """EOF came."""
        self._received_eof = True
        if self._sink is not None:
            self._sink.eof()
        self._wake_reader()
        self._check_ended()

    def on_reset(self, payload: bytes) -> None:
        """RESET came, or the link is gone."""
        if not self.closed:
            self._end(payload)

    def on_writable(self) -> None:
        """Credit came, or the link has room again."""
        if self._pending:
            sent = self.tunnel.mux.send(self.number, self._pending)
            self._pending = self._pending[sent:]
            self.tunnel.flush_soon()
        if self._pending:
            return
        if self._eof_wanted:
            self._eof_wanted = False
            self.write_eof()
        elif not self.tunnel.is_full:
            if self._sink is not None:
                self._sink.writable()
            if self._writable is not None and not self._writable.done():
                self._writable.set_result(None)

    def _wake_reader(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _check_ended(self) -> None:
        if not self.closed and self.number not in self.tunnel.mux.streams:
            self._close()

    def _end(self, payload: bytes) -> None:
        self._reset = payload
        self._pending = b""
        refused = StreamRefused(payload)
        for waiter in (self._answer, self._writable):
            if waiter is not None and not waiter.done():
                waiter.set_exception(refused)
                waiter.exception()  # a waiter that was cancelled meanwhile must not be reported as forgotten
        if self._sink is not None:
            self._sink.reset(payload)
        self._wake_reader()
        self._close()

    def _close(self) -> None:
        self.closed = True
        self.tunnel.forget(self.number)
        if self.on_closed is not None:
            self.on_closed()


class Tunnel(asyncio.BufferedProtocol):
    """One link. `on_stream(stream, head)` is called for each stream that the peer opens; it must not block."""

    def __init__(self, *, initiator: bool, on_stream: Callable[[Stream, bytes], None]) -> None:
        self.mux = Mux(initiator=initiator)
        self.is_full = False
        self.last_heard = 0.0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._on_stream = on_stream
        self._streams: dict[int, Stream] = {}
        self._transport: asyncio.Transport | None = None
        self._flushing = False
        self._ping: asyncio.TimerHandle | None = None
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    async def attach(self, sock: socket.socket) -> None:
        """Take a connected stream socket over and start."""
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await self._loop.create_connection(lambda: self, sock=sock)

    def open(self, head: bytes) -> Stream:
        """Begin a stream."""
        stream = Stream(self, self.mux.open(head))
        if self.lost.done():
            stream.on_reset(b"")
            return stream
        self._streams[stream.number] = stream
        self.flush_soon()
        return stream

    async def ask(self, head: bytes) -> bytes:
        """Open a stream for one question; return the answer in its ACCEPT.

        Raises:
            StreamRefused: Refused, or the link is gone.
        """
        stream = self.open(head)
        try:
            return await stream.accepted()
        finally:
            stream.refuse()

    async def fetch(self, head: bytes) -> bytes:
        """Open a stream for one question; return all its data.

        Raises:
            StreamRefused: Refused, or the link is gone.
        """
        stream = self.open(head)
        parts: list[bytes] = []
        size = 0
        try:
            await stream.accepted()
            while data := await stream.read():
                parts.append(data)
                size += len(data)
                if size > MAX_ANSWER:
                    raise StreamRefused(b"")
        finally:
            stream.refuse()
        return b"".join(parts)

    def close(self) -> None:
        """End the link; every stream is refused."""
        if self._transport is not None:
            self._transport.abort()
        self._gone()

    def forget(self, number: int) -> None:
        """Drop an ended stream."""
        self._streams.pop(number, None)

    def flush_soon(self) -> None:
        """Write what the mux has, at the end of this loop turn."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out, self.mux.out = self.mux.out, []
        transport = self._transport
        if not out or transport is None or transport.is_closing():
            return
        if len(out) == 1:
            transport.write(out[0])
        elif max(map(len, out)) < JOIN_BELOW:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start pinging."""
        self._transport = transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        transport.set_write_buffer_limits(high=1024 * 1024)
        self.last_heard = self._loop.time()
        self._send_ping()
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return room for at least one whole frame."""
        if self._start and BUFFER - self._end < MAX_PAYLOAD + HEADER.size:
            rest = self._end - self._start
            self._view[:rest] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Handle all frames that are complete."""
        self._end += nbytes
        self.last_heard = self._loop.time()
        try:
            frames, self._start = decode(self._view, self._start, self._end)
            for number, kind, payload in frames:
                self._handle(number, kind, payload)
        except FrameError:
            self.close()
            return
        if self._start == self._end:
            self._start = self._end = 0

    def pause_writing(self) -> None:
        """The link is slower than its streams."""
        self.is_full = True

    def resume_writing(self) -> None:
        """The link has room again."""
        self.is_full = False
        for stream in list(self._streams.values()):
            stream.on_writable()

    def eof_received(self) -> bool:
        """The peer is gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is gone."""
        self._gone()

    def _handle(self, number: int, kind: int, payload: bytes) -> None:
        if not self.mux.received(number, kind, payload):
            return
        if kind == Kind.OPEN:
            stream = self._streams[number] = Stream(self, number)
            self._on_stream(stream, payload)
            return
        if kind == Kind.PING:
            self.mux.out.append(encode(0, Kind.PONG))
            self.flush_soon()
            return
        found = self._streams.get(number)
        if found is None:
            return
        if kind == Kind.DATA:
            found.on_data(payload)
        elif kind == Kind.ACCEPT:
            found.on_answer(payload)
        elif kind == Kind.EOF:
            found.on_eof()
        elif kind == Kind.RESET:
            found.on_reset(payload)
        elif kind == Kind.CREDIT:
            found.on_writable()

    def _send_ping(self) -> None:
        self.mux.out.append(encode(0, Kind.PING))
        self.flush_soon()
        self._ping = self._loop.call_later(PING_EVERY_S, self._send_ping)

    def _gone(self) -> None:
        if self._ping is not None:
            self._ping.cancel()
        if not self.lost.done():
            self.lost.set_result(None)
        for stream in list(self._streams.values()):
            with contextlib.suppress(KeyError):
                del self.mux.streams[stream.number]
            stream.on_reset(b"")
