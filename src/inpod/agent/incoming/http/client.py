"""A client connection of HTTP/1 on asyncio: its socket, and who opens the sides that answer it."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from typing import cast

from inpod.agent.incoming.http.choice import Chooser, Taker
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.exchange import Exchange
from inpod.agent.incoming.http.wires import HIGH_WATER, OriginalWire, TakerWire, abort_with_reset
from inpod.tunnel import outlets
from inpod.tunnel.stream import StreamRefused

OPEN_LIMIT_S = 15.0
"""How long the original or a session may take to take a connection."""

LINGER_S = 2.0
"""How long a client may go on sending after its last answer. Closing before would reset what it has not read yet."""

ConnectOriginal = Callable[[], Awaitable[socket.socket]]
"""Returns a new, non-blocking connection to the original, or raises OSError."""


class Client(asyncio.Protocol):
    """The client's side of an exchange, and who opens its other sides.

    Attributes:
        exchange: Decides.
        is_slow: The client does not take what we have for it.
    """

    def __init__(self, chooser: Chooser, connect_original: ConnectOriginal, counts: Counts) -> None:
        self.is_slow = False
        self.exchange = Exchange(self, chooser, counts)
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._connect_original = connect_original
        self._ready: socket.socket | None = None
        self._first = b""
        self._group: asyncio.TaskGroup | None = None
        self._opening: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._sides: set[OriginalWire | TakerWire] = set()
        self._full: set[object] = set()
        self._is_held = False
        self._is_reading = True
        self._eof = False
        self._limit: asyncio.TimerHandle | None = None

    async def run(self, client: socket.socket, first: bytes, original: socket.socket | None) -> None:
        """Serve until the connection ended.

        Args:
            first: What was read from the client already.
            original: A connection to it, if there is one already.
        """
        self._first, self._ready = first, original
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    if client.family != socket.AF_UNIX:
                        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    await self._loop.create_connection(lambda: self, sock=client)
                except OSError:
                    client.close()  # it is gone
                    return
                await self._lost
        finally:
            if self._transport is not None:
                abort_with_reset(self._transport)
            self._end()
            if self._ready is not None:
                self._ready.close()

    # The client's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with what was read before."""
        # Not asserted: uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        outlets.add(self._transport)
        if self._ready is not None:
            self.exchange.expect_original()
            self.open(None)
        if self._first:
            self.exchange.client_data(self._first)

    def data_received(self, data: bytes) -> None:
        """Let the exchange decide."""
        self.exchange.client_data(data)

    def eof_received(self) -> bool:
        """Keep the other direction open."""
        if not self._eof:
            self._eof = True
            self.exchange.client_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the client."""
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
        if is_full:
            self._full.add(side)
        else:
            self._full.discard(side)
        self._read_or_not()

    def side_began(self, side: OriginalWire | TakerWire) -> None:
        """Know a side."""
        self._sides.add(side)
        if self.is_slow:
            side.set_reading(False)

    def side_ended(self, side: OriginalWire | TakerWire) -> None:
        """Forget a side."""
        self._sides.discard(side)
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
        self.write_eof()
        if self._eof:
            self._transport.close()
        else:
            self._loop.call_later(LINGER_S, self._transport.close)

    def reset(self) -> None:
        """Reset the client's connection."""
        if self._transport is not None:
            abort_with_reset(self._transport)

    def hold(self, is_held: bool) -> None:
        """Read no more from the client, or read on."""
        self._is_held = is_held
        self._read_or_not()

    def open(self, taker: Taker | None) -> None:
        """Open a side in a task of its own."""
        assert self._group is not None
        self._opening = self._group.create_task(self._open(taker))

    def set_limit(self, seconds: float | None) -> None:
        """Start the one timer anew."""
        if self._limit is not None:
            self._limit.cancel()
        self._limit = None if seconds is None else self._loop.call_later(seconds, self.exchange.limit_passed)

    async def _open(self, taker: Taker | None) -> None:
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                if taker is None:
                    await self._open_original()
                else:
                    await self._open_stream(taker)
        except (OSError, StreamRefused):  # TimeoutError is an OSError
            self.exchange.refused(taker)

    async def _open_original(self) -> None:
        sock, self._ready = self._ready, None
        if sock is None:
            sock = await self._connect_original()
        wire = OriginalWire(self)
        try:
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.create_connection(lambda: wire, sock=sock)
        except BaseException:
            sock.close()
            raise

    async def _open_stream(self, taker: Taker) -> None:
        stream = taker.open()
        try:
            await stream.accepted()
        except BaseException:
            stream.refuse()
            raise
        TakerWire(self, taker, stream).begin()

    def _read_or_not(self) -> None:
        reads = not self._is_held and not self._full
        if reads is self._is_reading or self._transport is None or self._eof or self._transport.is_closing():
            return
        self._is_reading = reads
        if reads:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _end(self) -> None:
        self.set_limit(None)
        if self._opening is not None:
            self._opening.cancel()
        self.exchange.client_lost()
        if not self._lost.done():
            self._lost.set_result(None)
