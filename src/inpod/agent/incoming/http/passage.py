"""How a client connection stands, and how it ends or is passed whole. No I/O here: see `exchange`.

    READY       between requests, or in the middle of a head
    COLLECTING  a filter asked for the body, which is not read far enough
    ROUTED      a request is decided; its side is being opened, or the answers of another side come first
    SENDING     the head is sent, the body follows
    BARRIER     an upgrade or CONNECT is sent; its answer tells what the bytes behind it are
    OPENING     the rest is for the original whole, which is being opened
    WHOLE       all bytes pass between the client and one side
    LAST        nothing more is read from the client; the connection ends with the answers that are due

Only one side at a time has requests without an answer, so the answers are in order by themselves.
"""

from enum import Enum, auto

from inpod.agent.incoming.http.answers import Turn
from inpod.agent.incoming.http.choice import Taker
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.requests import RequestReader
from inpod.agent.incoming.http.sides import Outside, Side


class State(Enum):
    """See the top of this file."""

    READY = auto()
    COLLECTING = auto()
    ROUTED = auto()
    SENDING = auto()
    BARRIER = auto()
    OPENING = auto()
    WHOLE = auto()
    LAST = auto()


class Passage:
    """The parts of an `Exchange` that know nothing of single requests."""

    def __init__(self, outside: Outside, counts: Counts) -> None:
        self.state = State.READY
        self._outside = outside
        self._counts = counts
        self._reader = RequestReader()
        self._sides: dict[Taker | None, Side] = {}
        self._side: Side | None = None  # who got the latest request
        self._raw: list[bytes] = []  # what is read of a request and not sent yet
        self._opening: list[Taker | None] = []  # whose sides are asked for
        self._is_held = False
        self._has_limit = False
        self._has_begun = False
        self._eof = False
        self._eof_passed_to: Side | None = None
        self._side_ended = False

    def side_eof(self, side: Side) -> None:
        """A side sends no more."""
        if side is not self._side:
            self._drop(side)
        elif self.state is State.WHOLE:
            self._side_ended = True
            if self._eof:
                self._finish()
            else:
                self._outside.write_eof()
        elif side.taker is not None and self.state is State.READY and not side.answers.waiting:
            # The program was started anew, or its connection idle for long: the client's is not only for it.
            self._drop(side)
        elif side.answers.waiting or self.state in (State.READY, State.SENDING, State.LAST):
            # Either the end of the answer, or the original's keep-alive connection has been idle for long.
            if held := side.answers.rest():
                self._outside.write(held)
            self._finish()
        else:
            self._drop(side)

    def side_lost(self, side: Side) -> None:
        """A side is gone without a good end."""
        is_original = side.taker is None and self.state is State.READY
        is_busy = self.state in (State.WHOLE, State.SENDING) or bool(side.answers.waiting)
        if side is self._side and (is_busy or is_original):
            self._reset()
        else:
            self._drop(side)

    def _on_turn(self, side: Side, turn: Turn) -> None:
        if turn is Turn.CLOSE:
            self._finish()
        elif turn is Turn.TUNNEL:
            self._begin_whole(side)
        elif turn is Turn.ODD and side.taker is None and self.state is not State.LAST:
            self._counts.note_whole("the original's answer is not correct")
            self._begin_whole(side)
        elif self.state not in (State.SENDING, State.LAST):
            self._read_no_more()

    def _on_unasked(self, side: Side, data: bytes) -> None:
        """A side speaks though it was asked nothing: a server-first protocol, or "408 Request Timeout"."""
        if self.state not in (State.READY, State.SENDING):
            self._drop(side)
            return
        self._outside.write(data)
        if side.taker is None:
            self._counts.note_whole("the original speaks unasked")
            self._begin_whole(side)
        else:
            side.answers.turn = Turn.UNTIL_CLOSE
            self._on_turn(side, Turn.UNTIL_CLOSE)

    def _pass_whole(self, reason: str) -> None:
        """Pass the connection to the original from the first byte on that was not sent.

        When a session has a request that is not answered, it is finished and nothing more is read: what follows it may
        mean something else to the original than it would have meant behind the whole.
        """
        side = self._side
        if side is not None and side.taker is not None and (side.answers.waiting or self.state is State.SENDING):
            if self.state is State.SENDING:
                self._pass_eof()
            if side.answers.waiting:
                self._read_no_more()
            else:
                self._finish()
            return
        self._counts.note_whole(reason)
        original = self._sides.get(None)
        if original is not None:
            self._begin_whole(original)
        else:
            self._limit(None)
            self.state = State.OPENING
            self._open(None)

    def _begin_whole(self, side: Side) -> None:
        """Pass all that comes, and all that waits, between the client and a side."""
        for other in list(self._sides.values()):
            if other is not side:
                self._drop(other)
        self._side = side
        self.state = State.WHOLE
        self._limit(None)
        if held := side.answers.rest():
            self._outside.write(held)
        self._raw.append(self._reader.rest())
        if waiting := b"".join(self._raw):
            side.write(waiting)
        self._raw = []
        self._hold(False)
        if self._eof:
            self._pass_eof()

    def _read_no_more(self) -> None:
        """End with the answers that are due."""
        self._drop_input()
        if self._eof:
            self._pass_eof()

    def _drop_input(self) -> None:
        self.state = State.LAST
        self._limit(None)
        self._raw = []
        self._reader.rest()
        self._hold(False)

    def _on_input_ended(self) -> None:
        """The client sent its last, and all of it was read that is complete."""
        side = self._side
        if self.state is State.READY:
            if not self._reader.is_empty or not self._has_begun:
                self._pass_whole("it ends in the middle of a head" if self._has_begun else "it asks nothing")
            elif side is not None and side.answers.waiting:
                self._read_no_more()
            else:
                self._finish()
        elif self.state is State.SENDING:
            assert side is not None
            if part := self._reader.rest():
                side.write(part)
            self._pass_eof()
        elif self.state is State.WHOLE:
            self._pass_eof()
            if self._side_ended:
                self._finish()
        elif self.state in (State.LAST, State.BARRIER) and self._reader.is_empty:
            self._pass_eof()

    def _pass_eof(self) -> None:
        if self._side is not None and self._eof_passed_to is not self._side:
            self._eof_passed_to = self._side
            self._side.write_eof()

    def _finish(self) -> None:
        self._drop_input()
        for side in list(self._sides.values()):
            side.close()
        self._forget_sides()
        self._outside.finish()

    def _reset(self) -> None:
        self._drop_input()
        for side in list(self._sides.values()):
            side.abort()
        self._forget_sides()
        self._outside.reset()

    def _forget_sides(self) -> None:
        self._sides.clear()
        self._side = self._eof_passed_to = None

    def _drop(self, side: Side) -> None:
        if self._sides.get(side.taker) is side:
            del self._sides[side.taker]
            if side is self._side:
                self._side = None
            side.close()

    def _open(self, taker: Taker | None) -> None:
        if taker not in self._opening:
            self._opening.append(taker)
            self._outside.open(taker)

    def _hold(self, is_held: bool) -> None:
        if is_held is not self._is_held:
            self._is_held = is_held
            self._outside.hold(is_held)

    def _limit(self, seconds: float | None) -> None:
        if seconds is not None or self._has_limit:
            self._has_limit = seconds is not None
            self._outside.set_limit(seconds)
