"""The mux on asyncio: a `Tunnel` over one connected socket, with its `Stream`s.

Small frames of one loop turn are joined into one write; large data goes out without being copied. Both ends ping, so
that each knows when the other was last alive (`Tunnel.last_heard`).
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import cast

from inpod.tunnel.frames import FrameDecoder, FrameError, Kind
from inpod.tunnel.mux import Mux, StreamState
from inpod.tunnel.stream import Sink, Stream, StreamRefused, TunnelLost

__all__ = ["Sink", "Stream", "StreamRefused", "Tunnel", "TunnelLost"]

PING_EVERY_S = 0.5

HIGH_WATER = 256 * 1024
"""Bytes that wait for the link before the streams keep theirs. Small data waits behind these, so they are few."""

MAX_UNSENT = 64 * 1024 * 1024
"""Bytes that a peer who does not read can make us hold (answers to its PINGs and OPENs) before the link ends."""

MAX_ANSWER = 64 * 1024 * 1024
"""Most bytes of the data that answers one question."""

_OPEN, _ACCEPT, _DATA, _EOF, _RESET, _CREDIT = (
    int(kind) for kind in (Kind.OPEN, Kind.ACCEPT, Kind.DATA, Kind.EOF, Kind.RESET, Kind.CREDIT)
)


class Tunnel(asyncio.BufferedProtocol):
    """One link.

    Attributes:
        lost: Done once the link is gone.
        last_heard: Loop time at which the peer was last heard of.
    """

    def __init__(self, *, initiator: bool, on_stream: Callable[[Stream, bytes], None]) -> None:
        """Prepare one end.

        Args:
            initiator: Whether this is the end whose streams have odd ids: exactly one of both.
            on_stream: Called with each stream that the peer opens and its payload; must neither block nor raise.
        """
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.last_heard = self._loop.time()
        self._mux = Mux(initiator=initiator)
        self._on_stream = on_stream
        self._decoder = FrameDecoder()
        self._sock: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._will_flush = False
        self._next_ping: asyncio.TimerHandle | None = None

    async def attach(self, sock: socket.socket) -> None:
        """Take a connected stream socket over and start.

        Raises:
            TunnelLost: The tunnel was closed before.
        """
        if self.lost.done():
            sock.close()
            raise TunnelLost
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        transport, _ = await self._loop.create_connection(lambda: self, sock=sock)
        # Only from here on may it close: before, uvloop would close the descriptor and leave its number to `sock`, which
        # would close whatever has that number by then.
        if self.lost.done():
            transport.abort()
            return
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        transport.resume_reading()
        self.last_heard = self._loop.time()
        self._ping()
        self._flush()

    def open(self, head: bytes, *, at_once: bool = False) -> Stream:
        """Begin a stream. When the link is lost, or too many are open, it is refused from the start.

        Args:
            at_once: Do not wait for what else is said in this turn of the loop.
        """
        state = None if self.lost.done() else self._mux.open(head)
        if state is None:
            refused = StreamState(0, is_ours=True)
            refused.ended = True
            stream = Stream(self._mux, refused, self._flush_soon)
            stream.on_reset(b"", is_lost=self.lost.done())
            return stream
        stream = state.owner = Stream(self._mux, state, self._flush_soon)
        if at_once:
            self._flush()
        else:
            self._flush_soon()
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

    def answer(self, stream: Stream, answer: bytes) -> None:
        """Answer all that the peer asked by a stream, as `ask` wants it, and end the stream; at once, as somebody waits."""
        stream.accept(answer)
        stream.refuse()
        self._flush()

    async def fetch(self, head: bytes) -> bytes:
        """Open a stream for one question; return all its data.

        Raises:
            StreamRefused: Refused, the link is gone, or the answer has more than MAX_ANSWER bytes.
        """
        parts: list[bytes] = []
        await self.fetch_by(head, parts.append)
        return b"".join(parts)

    async def fetch_by(self, head: bytes, take: Callable[[bytes], None]) -> None:
        """Open a stream for one question; give `take` its data as it comes. What that raises ends it.

        Raises:
            StreamRefused: As `fetch`.
        """
        stream = self.open(head)
        size = 0
        try:
            await stream.accepted()
            while data := await stream.read():
                size += len(data)
                if size > MAX_ANSWER:
                    raise StreamRefused(b"")
                take(data)
        finally:
            stream.refuse()

    def close(self) -> None:
        """End the link: every stream is refused. What was said in this loop turn is still sent if the link has room."""
        transport, sock = self._transport, self._sock
        if transport is not None and sock is not None and not transport.is_closing():
            last_words = b"".join(self._mux.take())
            # By the socket itself: a transport that still has to write does not close within a known time.
            if last_words and not transport.get_write_buffer_size():
                with contextlib.suppress(OSError):
                    sock.send(last_words)
        self._abort()

    # asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for `attach` to go on."""
        # Not asserted: uvloop's transports are none of asyncio's classes.
        cast("asyncio.Transport", transport).pause_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put received bytes."""
        return self._decoder.room()

    def buffer_updated(self, nbytes: int) -> None:
        """Handle the frames that are complete."""
        self.last_heard = self._loop.time()
        received = self._mux.received
        try:
            for number, kind, payload in self._decoder.filled(nbytes):
                state = received(number, kind, payload)
                if state is not None:
                    if kind == _DATA:
                        state.owner.on_data(payload)  # type: ignore[attr-defined]  # a Stream; `cast` is too slow here
                    else:
                        self._handle(state, kind, payload)
        except FrameError:
            # What such a peer would be told, it would not understand.
            self._abort()
            return
        # What was said meanwhile goes at once, together: a turn of the loop later would be a turn too late.
        self._flush()

    def pause_writing(self) -> None:
        """Let the streams keep their data: the link is slower than they are."""
        self._mux.is_full = True

    def resume_writing(self) -> None:
        """Let the streams that wait send in turn, until the link is full again."""
        mux = self._mux
        mux.is_full = False
        while mux.blocked and not mux.is_full:
            state = next(iter(mux.blocked))
            del mux.blocked[state]
            assert isinstance(state.owner, Stream)
            state.owner.on_room()
            self._flush()

    def eof_received(self) -> bool:
        """Let the transport close: a peer that stops speaking is gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End every stream: the link is gone."""
        self._end()

    def _handle(self, state: StreamState, kind: int, payload: bytes) -> None:
        if kind == _OPEN:
            stream = state.owner = Stream(self._mux, state, self._flush_soon)
            self._on_stream(stream, payload)
            return
        owner = state.owner
        assert isinstance(owner, Stream)
        if kind == _CREDIT:
            owner.on_room()
        elif kind == _EOF:
            owner.on_eof()
        elif kind == _ACCEPT:
            owner.on_accept(payload)
        elif kind == _RESET:
            owner.on_reset(payload)

    def _flush_soon(self) -> None:
        if self._mux.has_large:
            # At once, so that the transport can say that it is full before more is given.
            self._flush()
        elif not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._will_flush = False
        self._flush()

    def _flush(self) -> None:
        transport = self._transport
        if transport is None or not self._mux.has_output:
            return
        out = self._mux.take()
        if transport.is_closing():
            return
        if len(out) == 1:
            transport.write(out[0])
        else:
            transport.writelines(out)
        if self._mux.is_full and transport.get_write_buffer_size() > MAX_UNSENT:
            self._abort()

    def _ping(self) -> None:
        self._mux.ping()
        self._flush_soon()
        self._next_ping = self._loop.call_later(PING_EVERY_S, self._ping)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def _end(self) -> None:
        if self.lost.done():
            return
        self.lost.set_result(None)
        if self._next_ping is not None:
            self._next_ping.cancel()
        for state in self._mux.drop_all():
            # The end of one may be that of another.
            if isinstance(state.owner, Stream):
                state.owner.on_reset(b"", is_lost=True)
