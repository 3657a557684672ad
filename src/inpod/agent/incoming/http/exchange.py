"""The requests of one client connection, each to whom it is for, and the answers in order. No I/O here.

How a connection stands is told in `passage`. Only one side at a time has requests without an answer, so the answers are in order by themselves.
"""

from inpod.agent.incoming.http.choice import Chooser, Fate, Taker
from inpod.agent.incoming.http.collected import Collected
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.head import Manner, Request, whole_request
from inpod.agent.incoming.http.passage import Passage, State
from inpod.agent.incoming.http.sides import NOBODY, Outside, Side

BODY_LIMIT_S = 1.0
"""How long a body may take that a filter wants to see."""

HEAD_LIMIT_S = 30.0
"""How long a head may take before its connection is passed whole: the original has limits of its own."""

MAX_PIPELINED = 64
"""Requests without an answer before the client's next ones wait."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_READY, _WHOLE = State.READY, State.WHOLE
"""For what runs with each request: Python 3.11 takes long to find a member in its class."""


class Exchange(Passage):
    """Decides what becomes of each byte of one client connection."""

    def __init__(self, outside: Outside, chooser: Chooser, counts: Counts) -> None:
        super().__init__(outside, counts)
        self._chooser = chooser
        # The request that is being decided, or waits for its side.
        self._request: Request | None = None
        self._taker: Taker | None = None
        self._collected = Collected()
        self._sent: Manner | None = None  # of the latest request whose head was sent, and its body perhaps not

    @property
    def is_at_rest(self) -> bool:
        """Whether the client has said nothing that is not answered."""
        is_answered = self._side is None or not self._side.answers.waiting
        return self.state is _READY and self._reader.is_empty and is_answered

    # What the client does.

    def client_data(self, data: bytes) -> None:
        """Bytes of the client came."""
        state = self.state
        if state is _READY:
            request = whole_request(data) if self._reader.is_empty else None
            if request is None or not request.is_plain:
                self._reader.feed(data)
                self._advance()
            else:
                self._on_plain(request, data)
        elif state is _WHOLE:
            assert self._side is not None
            self._side.write(data)
        elif state is State.COLLECTING or state is State.SENDING:
            self._reader.feed(data)
            self._advance()
        elif state is not State.LAST:
            self._reader.feed(data)
            self._hold(True)

    def client_eof(self) -> None:
        """The client sends no more."""
        self._eof = True
        match self.state:
            case State.READY | State.COLLECTING | State.SENDING:
                self._advance()
            case State.ROUTED | State.OPENING:
                pass
            case _:
                self._on_input_ended()

    def limit_passed(self) -> None:
        """What `Outside.set_limit` was told has passed."""
        self._has_limit = False
        if self.state is State.COLLECTING:
            self._choose_with_body()
            self._advance()
        elif self.state is State.READY:
            self._pass_whole("its head does not come to an end")

    # What the sides do.

    def opened(self, side: Side) -> None:
        """A side is there: one that was asked for, or the original before anybody said anything."""
        self._opening.remove(side.taker)
        if self.state in (State.WHOLE, State.LAST):
            side.close()
            return
        self._sides[side.taker] = side
        if self.state is State.OPENING:
            self._begin_whole(side)
        elif self._side is None:
            self._side = side
        if self.state is State.ROUTED:
            self._advance()

    def refused(self, taker: Taker | None) -> None:
        """A side that was asked for is not to be had: the original gets the request; without it, the client a reset."""
        self._opening.remove(taker)
        if self.state is State.ROUTED and taker is not self._taker:
            return  # the original, which nobody waits for any more
        if self.state is State.ROUTED and taker is not None:
            self._taker = None
            self._advance()
        elif self.state in (State.ROUTED, State.OPENING):
            self._reset()

    def expect_original(self) -> None:
        """The original is being opened before anybody said anything."""
        self._opening.append(None)

    def client_lost(self) -> None:
        """The client is gone without a good end."""
        for side in list(self._sides.values()):
            if side is self._side and (side.answers.waiting or self.state in (State.SENDING, State.WHOLE)):
                side.abort()
            else:
                side.close()
        self._forget_sides()
        self.state = State.LAST
        self._outside = NOBODY

    def side_data(self, side: Side, data: bytes) -> None:
        """Bytes of a side came."""
        if side is not self._side:
            self._drop(side)
            return
        if self.state is _WHOLE:
            self._outside.write(data)
            return
        answers = side.answers
        if not answers.waiting and answers.turn is None:
            self._on_unasked(side, data)
            return
        if given := answers.feed(data):
            self._outside.write(given)
        if answers.turn is not None:
            self._on_turn(side, answers.turn)
        elif self.state is not _READY:
            self._settle(side)

    def _settle(self, side: Side) -> None:
        """Go on with what waited for answers."""
        if self.state is State.ROUTED:
            self._advance()
        elif not side.answers.waiting:
            if self.state is State.BARRIER:
                self.state = State.READY
                self._advance()
            elif self.state is State.COLLECTING:
                self._advance()
            elif self.state is State.LAST:
                self._finish()

    # From bytes to requests.

    def _advance(self) -> None:
        """Go on with what is there of the client's bytes."""
        out: list[bytes] = []  # for self._side, joined to one write
        goes_on = True
        while goes_on:
            match self.state:
                case State.READY:
                    goes_on = self._next_request()
                case State.COLLECTING:
                    goes_on = self._collect()
                case State.ROUTED:
                    goes_on = self._send_head(out)
                case State.SENDING:
                    goes_on = self._send_body(out)
                case _:
                    goes_on = False
        self._flush(out)
        reads = self.state in (State.READY, State.COLLECTING, State.SENDING)
        if self._reader.broken is not None and reads:
            self._pass_whole(self._reader.broken)
        elif self._eof:
            self._on_input_ended()
        elif self._is_held and (reads or self.state is State.LAST):
            self._hold(False)

    def _next_request(self) -> bool:
        if (found := self._reader.head()) is None:
            has_part = not self._reader.is_empty and self._reader.broken is None
            if has_part is not self._has_limit:
                self._limit(HEAD_LIMIT_S if has_part else None)
            return False
        if self._has_limit:
            self._limit(None)
        request, raw = found
        body = None if request.length else b""
        choice = self._chooser.choose(request.head, body)
        if choice is Fate.NEEDS_BODY and body is None:
            self._request, self._raw = request, [raw]
            self._collected = Collected(owes_continue=request.expects_continue and self._reader.is_empty)
            self._counts.seen += 1
            self.state = State.COLLECTING
        else:
            self._route(request, raw, choice)
        return True

    def _on_plain(self, request: Request, raw: bytes) -> None:
        """Send a request that came alone and has no body: most do, so this is the short way."""
        choice = self._chooser.choose(request.head, b"")
        taker = None if isinstance(choice, Fate) else choice
        side = self._side
        if side is None or side.taker is not taker or len(side.answers.waiting) >= MAX_PIPELINED:
            self._route(request, raw, choice)
            self._advance()
            return
        self._counts.seen += 1
        self._counts.note(taker)
        side.answers.expect(request)
        side.write(raw)

    def _collect(self) -> bool:
        collected = self._collected
        if piece := collected.take(self._reader):
            self._raw.append(piece)
        if self._reader.body_is_done or collected.is_enough or self._eof:
            self._choose_with_body()
            return True
        if self._reader.broken is not None:
            return False
        if collected.owes_continue:
            # Answers of earlier requests come first.
            if self._side is not None and self._side.answers.waiting:
                return False
            self._outside.write(CONTINUE)
            collected.continued()
        if not self._has_limit:
            self._limit(BODY_LIMIT_S)
        return False

    def _choose_with_body(self) -> None:
        assert self._request is not None
        self._limit(None)
        choice = self._chooser.choose(self._request.head, self._collected.body())
        self._collected.let_go()
        self._taker = None if isinstance(choice, Fate) else choice
        self.state = State.ROUTED

    def _route(self, request: Request, raw: bytes, choice: Taker | Fate) -> None:
        self._counts.seen += 1
        self._request, self._raw = request, [raw]
        self._taker = None if isinstance(choice, Fate) else choice
        self.state = State.ROUTED

    def _send_head(self, out: list[bytes]) -> bool:
        """Send what is read of a request, if its side is there and its turn has come."""
        assert self._request is not None
        side, taker = self._side, self._taker
        if side is None or side.taker is not taker:
            self._flush(out)
            if side is not None and side.answers.waiting:
                return False
            side = self._sides.get(taker)
            if side is None:
                self._open(taker)
                return False
            self._side = side
        elif len(side.answers.waiting) >= MAX_PIPELINED:
            return False
        self._has_begun = True
        self._counts.note(taker)
        side.answers.expect(self._request, swallows_continue=self._collected.is_continued)
        self._collected.is_continued = False
        out += self._raw
        self._sent = self._request.manner
        self._request, self._raw = None, []
        self.state = State.SENDING
        if self._reader.body_is_done:
            self._end_request(side)
        return True

    def _send_body(self, out: list[bytes]) -> bool:
        assert self._side is not None
        if piece := self._reader.body():
            out.append(piece)
        if self._reader.body_is_done:
            self._end_request(self._side)
            return True
        return False

    def _end_request(self, side: Side) -> None:
        """Say what may follow a request that was sent whole."""
        assert self._sent is not None
        if side.answers.turn is not None or not (self._sent.keeps_alive or self._sent.is_barrier):
            # Its EOF comes behind what is not written yet.
            self._reader.rest()
            self.state = State.LAST
        else:
            self.state = State.BARRIER if self._sent.is_barrier else State.READY

    def _flush(self, out: list[bytes]) -> None:
        if out:
            assert self._side is not None
            self._side.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()
