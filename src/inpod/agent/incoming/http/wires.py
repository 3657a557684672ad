"""The sides of an exchange on asyncio: a connection to the original, and a stream of a session."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol

from inpod.agent.incoming.http.answers import AnswerReader
from inpod.agent.incoming.http.choice import Taker
from inpod.agent.incoming.http.exchange import Exchange
from inpod.tunnel import outlets
from inpod.tunnel.stream import Stream
from inpod.tunnel.transport import Transport, abort_with_reset

CLOSE_LIMIT_S = 10.0
"""How long a session's program may take to end its connection after we ended ours."""

LINGER_S = 2.0
"""How long a client that takes nothing may go on sending after its last answer."""


class Wires(Protocol):
    """What a side sees of its connection.

    Attributes:
        exchange: Decides.
        is_slow: The client does not take what we have for it.
    """

    exchange: Exchange
    is_slow: bool

    def side_is_full(self, side: object, is_full: bool) -> None:
        """A side takes no more for now, or does again."""

    def side_began(self, side: "OriginalWire | TakerWire") -> None:
        """A side wants to be told when the client is slow."""

    def side_ended(self, side: "OriginalWire | TakerWire") -> None:
        """A side is over."""


class OriginalWire(asyncio.Protocol):
    """A connection to the original."""

    __slots__ = ("_is_over", "_transport", "_wires", "answers", "taker")

    def __init__(self, wires: Wires) -> None:
        self.taker: Taker | None = None
        self.answers = AnswerReader()
        self._wires = wires
        self._is_over = False
        self._transport: Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self._transport = transport
        self._wires.side_began(self)
        self._wires.exchange.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self._is_over:
            self._wires.exchange.side_data(self, data)

    def eof_received(self) -> bool:
        if not self._is_over:
            self._wires.exchange.side_eof(self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_over:
            self._end()
            self._wires.exchange.side_lost(self)

    def pause_writing(self) -> None:
        if not self._is_over:
            self._wires.side_is_full(self, True)

    def resume_writing(self) -> None:
        self._wires.side_is_full(self, False)

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):
                self._transport.write_eof()

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
    """A stream of a session."""

    __slots__ = ("_is_over", "_owed", "_stream", "_wires", "answers", "taker")

    def __init__(self, wires: Wires, taker: Taker, stream: Stream) -> None:
        self.taker: Taker | None = taker
        self.answers = AnswerReader()
        self._wires = wires
        self._stream = stream
        self._is_over = False
        self._owed = 0

    def begin(self) -> None:
        """Take part, with a stream that was accepted."""
        self._wires.side_began(self)
        self._wires.exchange.opened(self)
        self._stream.set_sink(self)

    # The stream's side.

    def data(self, data: bytes) -> None:
        if not self._is_over:
            self._wires.exchange.side_data(self, data)
        if self._wires.is_slow and not self._is_over:
            self._owed += len(data)
        else:
            self._stream.passed_on(len(data))

    def eof(self) -> None:
        if not self._is_over:
            self._wires.exchange.side_eof(self)

    def writable(self) -> None:
        self._wires.side_is_full(self, False)

    def reset(self) -> None:
        if not self._is_over:
            self._end()
            self._wires.exchange.side_lost(self)

    # The exchange's side.

    def write(self, data: bytes) -> None:
        if not self._stream.send(data):
            self._wires.side_is_full(self, True)

    def write_eof(self) -> None:
        self._stream.write_eof()

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


def linger(transport: Transport, end: Callable[[], object]) -> None:
    """Call `end` once a client that was told all takes nothing more of it; until then it may go on sending.

    Closing before would reset what it has not read yet.
    """
    loop = asyncio.get_running_loop()

    def look(before: int) -> None:
        if transport.is_closing():
            return
        if (unsent := outlets.unsent_bytes(transport)) < before:
            loop.call_later(LINGER_S, look, unsent)
        else:
            end()

    loop.call_later(LINGER_S, look, outlets.unsent_bytes(transport))
