"""The program's end of a copied HTTP/2 connection: what matches goes to it as it takes it, its answers are thrown away. No I/O.

Its connection is one of ours, with our own stream numbers, settings and windows (`http/h2_sending`, `http/h2_side`). Where it
takes less than the original, requests wait here. One that ends its connection gets the next requests on a new one.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_frames import DATA, END_STREAM, HEADERS, Http2Error
from inpod.agent.incoming.http.h2_limits import MOST_SIDES, MOST_STREAMS, SIDE_ROOM, Held
from inpod.agent.incoming.http.h2_outside import Timer
from inpod.agent.incoming.http.h2_sending import Sending
from inpod.agent.incoming.http.h2_side import Side
from inpod.agent.incoming.http.h2_stream import Piece, Stream, append
from inpod.agent.incoming.http.hpack import MAX_LIST
from inpod.agent.incoming.mirror.copy import Copy, Room
from inpod.agent.incoming.mirror.h2_wire import HeldInRoom, Wire

STREAM_COST = 1000
"""What a request costs besides its bytes, about."""

_SETTINGS = {
    frames.HEADER_TABLE_SIZE: 0,
    frames.ENABLE_PUSH: 0,
    frames.INITIAL_WINDOW_SIZE: SIDE_ROOM,
    frames.MAX_HEADER_LIST_SIZE: MAX_LIST,
}


END_LIMIT_S = 10.0
"""How long the program may take for what it has of a client that is gone."""


class Clock(Protocol):
    """An event loop, as far as it is needed."""

    def time(self) -> float:
        """Return the time in seconds."""

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Timer:
        """Call back after a while."""


class Program:
    """Who gets the copied requests: the `Owner` of sides.

    Attributes:
        held: Counts what waits, also what a filter waits for.
        streams: Those that are copied, or not decided, by the client's numbers.
    """

    def __init__(
        self, open_copy: Callable[[], Copy], room: Room, clock: Clock, on_dropped: Callable[[int], None]
    ) -> None:
        self.held: Held = HeldInRoom(room)
        self.streams: dict[int, Stream] = {}
        self._open_copy = open_copy
        self._clock = clock
        self._on_dropped = on_dropped
        self._costs: dict[Stream, int] = {}
        self._wires: dict[Sending, Wire] = {}
        self._current: Side | None = None
        self._written: list[Sending] = []
        self._is_ended = False
        self._end_limit: Timer | None = None

    # What the client does.

    def add(self, stream: Stream) -> bool:
        """Know a request; return False when there is no room for it, which is counted."""
        if len(self.streams) >= MOST_STREAMS or not self._take(stream, STREAM_COST + len(stream.block)):
            self._on_dropped(1)
            return False
        self.streams[stream.number] = stream
        return True

    def connect(self) -> bool:
        """Open a connection; return whether there is one."""
        if len(self._wires) >= MOST_SIDES:
            self._on_dropped(1)
            return False
        copy = self._open_copy()
        if copy.is_over:
            return False
        # Of no taker, as the original is: what it says is not passed on, so its blocks need not be looked at for long.
        side = self._current = Side(self, None)
        wire = self._wires[side] = copy.listener = Wire(self, side, copy, self._on_dropped)
        side.begin(wire, _SETTINGS)
        return True

    def start(self, stream: Stream) -> None:
        """Send a request: it matches."""
        if self._current is None and not self.connect():
            self.drop(stream)
        else:
            assert self._current is not None
            self._current.start(stream)

    def data(self, stream: Stream, flags: int, payload: bytes) -> None:
        """DATA of a request came, without padding."""
        if flags & END_STREAM:
            stream.request_ended = True
        side = stream.side
        if side is not None and side.data(stream, flags & END_STREAM, payload):
            if stream.request_sent:
                self.settle(stream)
        elif self.held.take(len(payload)):
            stream.waiting_size += len(payload)
            self._keep(stream, (DATA, flags & END_STREAM, payload))
        else:
            self._overflow(stream)

    def trailers(self, stream: Stream, block: bytes) -> None:
        """The end of a request came as a stateless header block."""
        stream.request_ended = True
        if self._take(stream, len(block)):
            self._keep(stream, (HEADERS, END_STREAM, block))
        else:
            self._overflow(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """A request was taken back."""
        if stream.side is not None:
            stream.side.reset(stream, code)
        self.drop(stream)

    def finish(self) -> None:
        """The client says no more. What it said to the end goes to the program all the same, which may be slower."""
        self._is_ended = True
        for stream in list(self.streams.values()):
            if not stream.request_ended:
                self.reset(stream, frames.CANCEL)
        self._end_if_done()
        if self._wires and self._end_limit is None:
            # An answer may have no end, and nobody waits for it.
            self._end_limit = self._clock.call_later(END_LIMIT_S, self.cut)

    def cut(self) -> None:
        """End all at once."""
        # Before the last request takes its connection along, in peace.
        wires = list(self._wires.values())
        for stream in list(self.streams.values()):
            self.drop(stream)
        for wire in wires:
            wire.abort()

    def pass_on(self) -> None:
        """Give what collected to the copies."""
        while self._written:
            side = self._written.pop()
            output, side.output = side.output, []
            if side.wire is not None and output:
                side.wire.write(b"".join(output))

    def flush(self) -> None:
        """Send what the copies have."""
        self.pass_on()
        for wire in list(self._wires.values()):
            wire.copy.flush()

    def drop(self, stream: Stream) -> None:
        """Forget a request, and what waits of it."""
        stream.is_over = True
        self.streams.pop(stream.number, None)
        if stream.limit is not None:
            stream.limit.cancel()
            stream.limit = None
        self.held.give(stream.waiting_size + self._costs.pop(stream, 0))
        stream.waiting_size = 0
        stream.requests = None
        if stream.side is not None:
            stream.side.forget(stream)
        else:
            for side in self._wires:
                side.waiting.pop(stream, None)
        self._end_if_done()

    # What the program does.

    def answered(self, side: Side, data: bytes) -> None:
        """Bytes of the program came."""
        try:
            side.feed(data)
        except Http2Error as error:
            side.output.append(frames.goaway(0, error.code, error.reason))
            self.lose(side)
        self.flush()

    def gone(self, side: Side) -> None:
        """The program ended a connection, or could not be reached; or its copy had no room."""
        self.lose(side)
        self.flush()

    # What sides ask: `Owner`.

    def has_output(self, side: Sending) -> None:
        """A side has something to send."""
        self._written.append(side)

    def now(self) -> float:
        """Return the time in seconds."""
        return self._clock.time()

    def sent(self, stream: Stream) -> None:
        """Nobody asks."""

    def took(self, size: int) -> None:
        """Nobody asks: the client's windows are the original's business."""

    def grant(self, stream: Stream) -> None:
        """Nobody asks, as above."""

    def side_settings(self, side: Sending, values: dict[int, int]) -> None:
        """Nobody asks."""

    def side_agreed(self, side: Sending) -> None:
        """Nobody asks."""

    def answer_headers(self, stream: Stream, flags: int, block: bytes) -> None:
        """Throw a block of an answer away."""
        self.settle(stream)

    def answer_data(self, stream: Stream, flags: int, payload: bytes) -> None:
        """Throw DATA of an answer away, and let more come."""
        assert stream.side is not None
        stream.side.passed_on(len(payload))
        stream.credit += len(payload)
        if stream.credit >= SIDE_ROOM // 4 and not stream.answer_ended:
            stream.side.credit(stream, stream.credit)
            stream.credit = 0
        self.settle(stream)

    def answer_reset(self, stream: Stream, payload: bytes) -> None:
        """The program wants no more of a request."""
        self.drop(stream)

    def refuse(self, stream: Stream) -> None:
        """The program did nothing about a request. It would have to be said again, and is not kept for that."""
        self._on_dropped(1)
        self.drop(stream)

    def settle(self, stream: Stream) -> None:
        """Something ended, of a request or its answer."""
        if stream.request_sent and stream.answer_ended:
            self.drop(stream)

    def retire(self, side: Sending) -> None:
        """A side takes no more requests."""
        if side.is_retired:
            return
        side.is_retired = True
        self._forget_current(side)
        self._start_again(side)
        if not side.streams:
            self.lose(side)

    def lose(self, side: Sending) -> None:
        """End a side, and what it did not finish."""
        if side.is_lost:
            return
        side.is_lost = True
        self._forget_current(side)
        del self._wires[side]
        for stream in list(side.streams.values()):
            self.drop(stream)
        if side.is_speaking:
            self._start_again(side)
        else:
            for stream in list(side.waiting):
                del side.waiting[stream]
                self.drop(stream)
        side.end()

    # Parts.

    def _start_again(self, side: Sending) -> None:
        for stream in list(side.waiting):
            del side.waiting[stream]
            self.start(stream)

    def _forget_current(self, side: Sending) -> None:
        if self._current is side:
            self._current = None

    def _keep(self, stream: Stream, piece: Piece) -> None:
        if stream.requests is None:
            stream.requests = deque()
        append(stream.requests, piece)
        if stream.side is not None:
            stream.side.push(stream)

    def _take(self, stream: Stream, size: int) -> bool:
        if not self.held.take(size):
            return False
        self._costs[stream] = self._costs.get(stream, 0) + size
        return True

    def _overflow(self, stream: Stream) -> None:
        self._on_dropped(1)
        self.reset(stream, frames.ENHANCE_YOUR_CALM)

    def _end_if_done(self) -> None:
        if self._is_ended and not self.streams:
            if self._end_limit is not None:
                self._end_limit.cancel()
            for side in list(self._wires):
                self.lose(side)
