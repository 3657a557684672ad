"""One stream of a tunnel, as its user sees it."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from inpod.tunnel.mux import Mux, StreamState


class StreamRefused(Exception):
    """The peer ended the stream by RESET.

    Attributes:
        payload: What the peer gave as its reason; b"" when it gave none, or when the link was lost.
    """

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload.decode(errors="replace"))
        self.payload = payload


class TunnelLost(StreamRefused):
    """The link is gone, and with it the stream."""

    def __init__(self) -> None:
        super().__init__(b"")


class Sink(Protocol):
    """Who takes what a stream receives, at once and in order. No method may raise."""

    def data(self, data: bytes) -> None:
        """Bytes came; call `Stream.passed_on` once they are out of the way."""

    def eof(self) -> None:
        """No more bytes will come."""

    def reset(self) -> None:
        """The stream is gone, both ways."""

    def writable(self) -> None:
        """All that was given to `Stream.send` is on its way: more may be sent."""


class Stream:
    """One stream of a tunnel. Either `read` it, or give it a `Sink`.

    Attributes:
        closed: Both directions ended, or the stream was reset, or the link is lost. Received bytes may still be read.
        on_closed: Called once when `closed` becomes true.
    """

    __slots__ = (
        "_answer", "_flush_soon", "_is_lost", "_mux", "_on_decided", "_received", "_received_eof", "_refusal", "_sink",
        "_state", "_waiters", "closed", "on_closed", "on_data",
    )  # fmt: skip

    def __init__(self, mux: Mux, state: StreamState, flush_soon: Callable[[], None]) -> None:
        self.closed = False
        self.on_closed: Callable[[], None] | None = None
        self.on_data: Callable[[bytes], None] = self._keep
        self._on_decided: Callable[[], None] | None = None
        self._mux = mux
        self._state = state
        self._flush_soon = flush_soon
        self._sink: Sink | None = None
        self._answer: bytes | None = None
        self._received: list[bytes] = []
        self._received_eof = False
        self._refusal: bytes | None = None
        self._is_lost = False
        self._waiters: list[asyncio.Future[None]] = []

    async def accepted(self) -> bytes:
        """Wait until the peer took the stream; return its answer.

        Raises:
            StreamRefused: It did not.
        """
        while self._answer is None:
            self._raise_if_refused()
            await self._event()
        return self._answer

    def when_decided(self, call: Callable[[], None]) -> None:
        """Call `call` once the peer took the stream or did not: `answer` then says which. One caller at a time."""
        if self._answer is None and self._refusal is None:
            self._on_decided = call
        else:
            call()

    def answer(self) -> bytes:
        """Return the peer's answer, once it is decided.

        Raises:
            StreamRefused: The peer did not take the stream.
        """
        if self._answer is None:
            self._raise_if_refused()
        assert self._answer is not None
        return self._answer

    def accept(self, head: bytes = b"") -> None:
        """Take a stream that the peer opened."""
        self._mux.accept(self._state, head)
        self._flush_soon()

    def refuse(self, payload: bytes = b"") -> None:
        """End the stream at once, both ways; also to abort it at any later time."""
        if not self.closed:
            self._mux.reset(self._state, payload)
            self._flush_soon()
            self.on_reset(payload)

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end.

        Raises:
            StreamRefused: The stream was reset, or the link is gone; whatever came before was returned.
        """
        while not self._received:
            if self._received_eof:
                return b""
            self._raise_if_refused()
            await self._event()
        data = self._received[0] if len(self._received) == 1 else b"".join(self._received)
        self._received.clear()
        self.passed_on(len(data))
        return data

    async def write(self, data: bytes) -> None:
        """Send, and wait while the peer or the link is slower. Writes of several tasks are not mixed.

        Raises:
            StreamRefused: The stream is gone.
        """
        self._raise_if_refused()
        if not self.send(data):
            while self._state.pending:
                await self._event()
            self._raise_if_refused()

    def write_eof(self) -> None:
        """Say that no more data comes, once all is sent."""
        if not self.closed:
            self._mux.send_eof(self._state)
            self._flush_soon()
            self._wake()
            self._check_ended()

    @property
    def next_piece(self) -> object:
        """Of what waits to be sent, the next piece: the same object as long as nothing goes. None: nothing waits."""
        return self._state.pending[0] if self._state.pending else None

    async def said_all(self) -> None:
        """Wait until our EOF is on its way, and all data before it; or the stream is gone."""
        while not (self._state.eof_sent or self.closed):
            await self._event()

    def send(self, data: bytes) -> bool:
        """Send, or keep what cannot go yet; return whether more may be given now (else wait for `Sink.writable`).

        `data` must not change afterwards.
        """
        went = self._mux.send(self._state, data)
        self._flush_soon()
        return went

    def passed_on(self, size: int) -> None:
        """Give the peer credit for bytes that left our hands."""
        if self._mux.passed_on(self._state, size):
            self._flush_soon()

    def set_sink(self, sink: Sink) -> None:
        """Hand all that was and will be received to `sink`."""
        self._sink = sink
        self.on_data = sink.data
        received, self._received = self._received, []
        for data in received:
            sink.data(data)
        if self._refusal is not None:
            sink.reset()
        elif self._received_eof:
            sink.eof()

    # What the tunnel calls.

    def on_accept(self, payload: bytes) -> None:
        """ACCEPT came."""
        self._answer = payload
        self._decided()
        self._wake()

    def on_eof(self) -> None:
        """EOF came."""
        self._received_eof = True
        if self._sink is not None:
            self._sink.eof()
        self._wake()
        self._check_ended()

    def on_room(self) -> None:
        """Credit came, or the link has room again."""
        had_pending = bool(self._state.pending)
        if not had_pending or not self._mux.pump(self._state):
            return
        if self._sink is not None:
            self._sink.writable()
        self._wake()
        self._check_ended()

    def on_reset(self, payload: bytes, *, is_lost: bool = False) -> None:
        """RESET came, or the link is gone."""
        if self.closed:
            return
        # From here on: whoever hears of it below may refuse the stream, too.
        self.closed = True
        self._refusal, self._is_lost = payload, is_lost
        if self._sink is not None:
            self._sink.reset()
        self._decided()
        self._wake()
        self._close()

    def _decided(self) -> None:
        on_decided, self._on_decided = self._on_decided, None
        if on_decided is not None:
            on_decided()

    def _keep(self, data: bytes) -> None:
        self._received.append(data)
        self._wake()

    async def _event(self) -> None:
        # One future for each waiter: a cancelled waiter cancels its future, which must be nobody else's.
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _raise_if_refused(self) -> None:
        if self._is_lost:
            raise TunnelLost
        if self._refusal is not None:
            raise StreamRefused(self._refusal)

    def _check_ended(self) -> None:
        if self._state.ended and not self.closed:
            self._close()

    def _close(self) -> None:
        self.closed = True
        # What knows this stream is known by it: its end, and that of a file it holds, must not wait for the collector.
        self._sink = self._state.owner = None
        self.on_data = _drop
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed()


def _drop(data: bytes) -> None:
    """Take what comes after the end: nothing, by the rules of the mux."""
