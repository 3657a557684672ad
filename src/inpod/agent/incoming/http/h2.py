"""A client connection of HTTP/2 on asyncio: its socket, and who opens the sides that answer it."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from functools import partial

from inpod.agent.incoming.http.choice import Chooser
from inpod.agent.incoming.http.client import OPEN_LIMIT_S, ConnectOriginal
from inpod.agent.incoming.http.connection import serve
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2_exchange import Exchange
from inpod.agent.incoming.http.h2_limits import Held
from inpod.agent.incoming.http.h2_side import Side
from inpod.agent.incoming.http.h2_wires import OriginalWire, TakerWire
from inpod.agent.incoming.http.wires import linger
from inpod.tunnel import outlets
from inpod.tunnel.stream import StreamRefused
from inpod.tunnel.transport import Transport, abort_with_reset, open_transport

_HELD = Held()
"""Of all connections."""


async def serve_both(
    client: socket.socket, chooser: Chooser, connect_original: ConnectOriginal, on_whole: Callable[[str], None]
) -> None:
    """Serve a client's connection in its version of HTTP; as `connection.serve`.

    Args:
        on_whole: As of `Counts`.
    """
    await serve(client, chooser, connect_original, Counts(on_whole=on_whole), serve_http2)


async def serve_http2(
    client: socket.socket, first: bytes, chooser: Chooser, connect_original: ConnectOriginal, counts: Counts
) -> None:
    """Serve a connection of HTTP/2 with prior knowledge until it ended; takes over its socket. Cancelling resets all.

    Args:
        client: Accepted, non-blocking.
        first: What was read from the client; begins with the preface.
    """
    await _Client(chooser, connect_original, counts).run(client, first)


class _Client(asyncio.Protocol):
    """The client's side of an exchange, and who opens its other sides: `Outside` and `Wires`."""

    def __init__(self, chooser: Chooser, connect_original: ConnectOriginal, counts: Counts) -> None:
        self.is_slow = False
        self.exchange = Exchange(self, chooser, counts, _HELD)
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._connect_original = connect_original
        self._first = b""
        self._group: asyncio.TaskGroup | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._transport: Transport | None = None
        self._wires: set[OriginalWire | TakerWire] = set()
        self._is_finished = False

    async def run(self, client: socket.socket, first: bytes) -> None:
        """Serve until the connection ended."""
        self._first = first
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    open_transport(client, self)
                except OSError:
                    client.close()
                    return
                await self._lost
        finally:
            if self._transport is not None:
                abort_with_reset(self._transport)
            self._end()

    # The client's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with what was read before."""
        assert isinstance(transport, Transport)
        self._transport = transport
        outlets.add(transport)
        self.exchange.client_data(self._first)
        self._first = b""

    def data_received(self, data: bytes) -> None:
        """Let the exchange decide."""
        self.exchange.client_data(data)

    def eof_received(self) -> bool:
        """End with the client: in HTTP/2, nobody stops sending and goes on reading."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End with the client."""
        outlets.remove(self._transport)
        self._transport = None
        self._end()

    def pause_writing(self) -> None:
        """Take no more from anybody: what a client asks for has to go to it."""
        self.is_slow = True
        self._set_reading(False)

    def resume_writing(self) -> None:
        """Take more."""
        self.is_slow = False
        self._set_reading(True)

    # What the sides say.

    def side_began(self, wire: OriginalWire | TakerWire) -> None:
        """Know a side."""
        self._wires.add(wire)
        if self.is_slow:
            wire.set_reading(False)

    def side_ended(self, wire: OriginalWire | TakerWire) -> None:
        """Forget a side."""
        self._wires.discard(wire)

    # What the exchange wants: `Outside`.

    def write(self, data: bytes) -> None:
        """Send to the client."""
        if self._transport is not None:
            self._transport.write(data)

    def finish(self) -> None:
        """Send what is left, and give the client time to read it: closing at once could reset what it has not read."""
        if self._is_finished or self._transport is None or self._transport.is_closing():
            return
        self._is_finished = True
        with contextlib.suppress(OSError):
            self._transport.write_eof()
        linger(self._transport, partial(abort_with_reset, self._transport))

    def open(self, side: Side) -> None:
        """Open a side in a task of its own."""
        assert self._group is not None
        task = self._group.create_task(self._open(side))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def later(self, seconds: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        """Call back after a while."""
        return self._loop.call_later(seconds, callback)

    def now(self) -> float:
        """Return the time."""
        return self._loop.time()

    async def _open(self, side: Side) -> None:
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                if side.taker is None:
                    await self._open_original(side)
                else:
                    stream = side.taker.open()
                    try:
                        await stream.accepted()
                    except BaseException:
                        stream.refuse()
                        raise
                    TakerWire(self, side, stream).begin()
        except (OSError, StreamRefused):  # TimeoutError is an OSError
            if side.wire is None:
                self.exchange.refused(side)

    async def _open_original(self, side: Side) -> None:
        found = self._connect_original()
        sock = found if isinstance(found, socket.socket) else await found
        try:
            open_transport(sock, OriginalWire(self, side))
        except OSError:
            sock.close()
            raise

    def _set_reading(self, is_reading: bool) -> None:
        if self._transport is not None:
            if is_reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()
        for wire in list(self._wires):
            wire.set_reading(is_reading)

    def _end(self) -> None:
        for task in self._opening:
            task.cancel()
        self.exchange.client_lost()
        if not self._lost.done():
            self._lost.set_result(None)
