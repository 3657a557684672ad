"""A client connection on asyncio: its socket, how it begins, and who opens the sides that answer it."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from inpod.agent.incoming.http.choice import Chooser, Taker
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.exchange import Exchange
from inpod.agent.incoming.http.passage import State
from inpod.agent.incoming.http.wires import OriginalWire, TakerWire, linger
from inpod.protocol.agent import PREFACE
from inpod.tunnel import outlets
from inpod.tunnel.stream import StreamRefused
from inpod.tunnel.transport import Transport, abort_with_reset, open_transport

OPEN_LIMIT_S = 15.0
"""How long the original or a session may take to take a connection."""

SILENCE_LIMIT_S = 2.0
"""How long a client may say nothing before the original is connected, which may be the one to speak first."""

ConnectOriginal = Callable[[], socket.socket | Awaitable[socket.socket]]
"""Returns a new, non-blocking connection to the original, or what to wait for until there is one; either may raise OSError."""

T = TypeVar("T")


class Client(asyncio.Protocol):
    """The client's side of an exchange, and who opens its other sides.

    Attributes:
        exchange: Decides.
        is_slow: The client does not take what we have for it.
    """

    __slots__ = (
        "_connect_original", "_eof", "_event", "_first", "_full", "_is_beginning", "_is_held", "_is_over", "_is_reading", "_limit", "_loop",
        "_opening", "_sides", "_takes_http2", "_transport", "_wanted", "_was_silent", "exchange", "is_slow",
    )  # fmt: skip

    def __init__(
        self, chooser: Chooser, connect_original: ConnectOriginal, counts: Counts, *, takes_http2: bool
    ) -> None:
        self.is_slow = False
        self.exchange = Exchange(self, chooser, counts)
        self._loop = asyncio.get_running_loop()
        self._connect_original = connect_original
        self._takes_http2 = takes_http2
        self._transport: Transport | None = None
        self._is_beginning = True
        self._first = b""  # while it may become HTTP/2's preface
        self._was_silent = False
        self._limit: asyncio.TimerHandle | None = None
        self._event: asyncio.Future[None] | None = None  # what `run` waits for
        self._wanted: list[Taker | None] = []
        self._opening: asyncio.Timeout | None = None
        self._is_over = False
        self._sides: list[OriginalWire | TakerWire] = []
        self._full: list[object] = []
        self._is_held = False
        self._is_reading = True
        self._eof = False

    async def run(self, client: socket.socket) -> bytes:
        """Serve until the connection ended, or turned out to be HTTP/2's; takes over its socket.

        Returns:
            What was read of HTTP/2: then the socket is the caller's again. Else b"".
        """
        try:
            open_transport(client, self)
        except OSError:
            client.close()
            return b""
        try:
            if self._is_beginning and not self._is_over:
                self._limit = self._loop.call_later(SILENCE_LIMIT_S, self._on_silence)
            while not self._is_over:
                if self._wanted:
                    await self._open(self._wanted.pop())
                else:
                    self._event = self._loop.create_future()
                    await self._event
        finally:
            if self._transport is not None:
                if self.exchange.is_at_rest and not self._first:
                    # As any server that stops: nobody waits for anything.
                    self._transport.close()
                else:
                    abort_with_reset(self._transport)
            self._end()
        return self._first

    # The client's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with what is there already."""
        assert isinstance(transport, Transport)
        self._transport = transport
        outlets.add(transport)
        transport.read()

    def data_received(self, data: bytes) -> None:
        """Let the exchange decide."""
        if self._is_beginning:
            self._begin(data)
        else:
            self.exchange.client_data(data)

    def eof_received(self) -> bool:
        """Keep the other direction open."""
        self._eof = True
        self._start(self._first)
        self.exchange.client_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the client."""
        self._first = b""  # nobody is left to serve
        outlets.remove(self._transport)
        self._transport = None
        self._end()

    def pause_writing(self) -> None:
        """Take no more from the sides."""
        self.is_slow = True
        for side in list(self._sides):
            side.set_reading(False)

    def resume_writing(self) -> None:
        """Take more from the sides."""
        self.is_slow = False
        for side in list(self._sides):
            side.set_reading(True)

    # What the sides say.

    def side_is_full(self, side: object, is_full: bool) -> None:
        """Read from the client while no side is full."""
        if is_full is not (side in self._full):
            if is_full:
                self._full.append(side)
            else:
                self._full.remove(side)
            self._read_or_not()

    def side_began(self, side: OriginalWire | TakerWire) -> None:
        """Know a side."""
        self._sides.append(side)
        if self.is_slow:
            side.set_reading(False)

    def side_ended(self, side: OriginalWire | TakerWire) -> None:
        """Forget a side."""
        if side in self._sides:
            self._sides.remove(side)
        self.side_is_full(side, False)

    # What the exchange wants: `Outside`.

    def write(self, data: bytes) -> None:
        """Send to the client."""
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Half-close."""
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):
                self._transport.write_eof()

    def finish(self) -> None:
        """Send what is left, and give the client time to read it."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._eof:
            self._transport.close()
        else:
            self.write_eof()
            linger(self._transport, self._transport.close)

    def reset(self) -> None:
        """Reset the client's connection."""
        if self._transport is not None:
            abort_with_reset(self._transport)

    def hold(self, is_held: bool) -> None:
        """Read no more from the client, or read on."""
        self._is_held = is_held
        self._read_or_not()

    def open(self, taker: Taker | None) -> None:
        """Have `run` open a side."""
        self._wanted.append(taker)
        # Only the original may be under way, for the case that it speaks first: it did not.
        self._stop_opening()
        self._wake()

    def set_limit(self, seconds: float | None) -> None:
        """Start the one timer anew."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = None if seconds is None else self._loop.call_later(seconds, self.exchange.limit_passed)

    async def _open(self, taker: Taker | None) -> None:
        try:
            if taker is None:
                await self._open_original()
            else:
                await self._open_stream(taker)
        except (OSError, StreamRefused):  # TimeoutError is an OSError
            self.exchange.refused(taker)

    async def _open_original(self) -> None:
        found = self._connect_original()
        sock = found if isinstance(found, socket.socket) else await self._in_time(found)
        try:
            open_transport(sock, OriginalWire(self))
        except OSError:
            sock.close()
            raise

    async def _open_stream(self, taker: Taker) -> None:
        stream = taker.open()
        try:
            await self._in_time(stream.accepted())
        except BaseException:
            stream.refuse()
            raise
        TakerWire(self, taker, stream).begin()

    async def _in_time(self, opening: Awaitable[T]) -> T:
        """Wait for a side no longer than the client is there."""
        try:
            async with asyncio.timeout(OPEN_LIMIT_S) as self._opening:
                return await opening
        finally:
            self._opening = None

    # How it begins.

    def _begin(self, data: bytes) -> None:
        """Tell HTTP/2, whose preface may come in pieces, from all else."""
        first = self._first + data
        if self._takes_http2 and first.startswith(PREFACE) and self.exchange.state is State.READY:
            assert self._transport is not None
            self._transport.release()
            outlets.remove(self._transport)
            self._transport = None
            self._end()
            self._first = first
        elif len(first) < len(PREFACE) and PREFACE.startswith(first) and not self._was_silent:
            self._first = first
        else:
            self._start(first)

    def _start(self, first: bytes) -> None:
        """Have the exchange decide from here on."""
        if self._is_beginning:
            self._is_beginning = False
            self._first = b""
            self.set_limit(None)
            if first:
                self.exchange.client_data(first)

    def _on_silence(self) -> None:
        self._limit = None
        self._was_silent = True
        if self._first:
            self._start(self._first)
        else:
            self.exchange.expect_original()
            self.open(None)

    def _read_or_not(self) -> None:
        reads = not self._is_held and not self._full
        if reads is self._is_reading or self._transport is None:
            return
        self._is_reading = reads
        if reads:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._event is not None and not self._event.done():
            self._event.set_result(None)

    def _end(self) -> None:
        self._is_over = True
        self._is_beginning = False
        self.set_limit(None)
        self._stop_opening()
        self.exchange.client_lost()
        self._wake()

    def _stop_opening(self) -> None:
        if self._opening is not None and not self._opening.expired():
            self._opening.reschedule(0)
