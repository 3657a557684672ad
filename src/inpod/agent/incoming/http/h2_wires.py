"""The sides of an HTTP/2 connection on asyncio: a connection to the original, and a stream of a session."""

import asyncio
from typing import Protocol

from inpod.agent.incoming.http.h2_exchange import Exchange
from inpod.agent.incoming.http.h2_side import Side
from inpod.agent.incoming.http.wires import CLOSE_LIMIT_S
from inpod.tunnel.stream import Stream
from inpod.tunnel.transport import Transport, abort_with_reset


class Wires(Protocol):
    """What a side sees of the client's connection.

    Attributes:
        exchange: Decides.
        is_slow: The client does not take what we have for it.
    """

    exchange: Exchange
    is_slow: bool

    def side_began(self, wire: "OriginalWire | TakerWire") -> None:
        """A side wants to be told when the client is slow."""

    def side_ended(self, wire: "OriginalWire | TakerWire") -> None:
        """A side is over."""


class OriginalWire(asyncio.Protocol):
    """A connection to the original."""

    def __init__(self, wires: Wires, side: Side) -> None:
        self._wires = wires
        self._side = side
        self._is_over = False
        self._transport: Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self._transport = transport
        self._wires.side_began(self)
        self._wires.exchange.opened(self._side, self)

    def data_received(self, data: bytes) -> None:
        if not self._is_over:
            self._wires.exchange.side_data(self._side, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_over:
            self._end()
            self._wires.exchange.side_lost(self._side)

    def pause_writing(self) -> None:
        if not self._is_over:
            self._wires.exchange.side_is_full(self._side, True)

    def resume_writing(self) -> None:
        if not self._is_over:
            self._wires.exchange.side_is_full(self._side, False)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        transport = self._transport
        self._end()
        if transport is not None:
            transport.close()

    def abort(self) -> None:
        transport = self._transport
        self._end()
        if transport is not None:
            abort_with_reset(transport)

    def set_reading(self, is_reading: bool) -> None:
        if self._transport is not None:
            if is_reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _end(self) -> None:
        self._is_over = True
        self._transport = None
        self._wires.side_ended(self)


class TakerWire:
    """A stream of a session, to its program."""

    def __init__(self, wires: Wires, side: Side, stream: Stream) -> None:
        self._wires = wires
        self._side = side
        self._stream = stream
        self._is_over = False
        self._owed = 0

    def begin(self) -> None:
        """Take part, with a stream that was accepted."""
        self._wires.side_began(self)
        self._wires.exchange.opened(self._side, self)
        self._stream.set_sink(self)

    # The stream's side.

    def data(self, data: bytes) -> None:
        if not self._is_over:
            self._wires.exchange.side_data(self._side, data)
        if self._wires.is_slow and not self._is_over:
            self._owed += len(data)
        else:
            self._stream.passed_on(len(data))

    def eof(self) -> None:
        if not self._is_over:
            self._wires.exchange.side_lost(self._side)

    def writable(self) -> None:
        if not self._is_over:
            self._wires.exchange.side_is_full(self._side, False)

    def reset(self) -> None:
        if not self._is_over:
            self._end()
            self._wires.exchange.side_lost(self._side)

    # The exchange's side.

    def write(self, data: bytes) -> None:
        if not self._stream.send(data) and not self._side.is_full and not self._side.is_lost:
            self._wires.exchange.side_is_full(self._side, True)

    def close(self) -> None:
        self._end()
        if not self._stream.closed:
            self._stream.write_eof()
            asyncio.get_running_loop().call_later(CLOSE_LIMIT_S, self._stream.refuse)

    def abort(self) -> None:
        self._end()
        self._stream.refuse()

    def set_reading(self, is_reading: bool) -> None:
        if is_reading:
            owed, self._owed = self._owed, 0
            self._stream.passed_on(owed)

    def _end(self) -> None:
        self._is_over = True
        self._wires.side_ended(self)
        self.set_reading(True)
