"""Whom each stream of an HTTP/2 connection is for, and the sides it goes to. No I/O here."""

from collections.abc import Callable

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Chooser, Fate, Taker
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2_agreement import Agreement
from inpod.agent.incoming.http.h2_answering import Answering
from inpod.agent.incoming.http.h2_frames import DATA, Http2Error
from inpod.agent.incoming.http.h2_limits import (
    BODY_LIMIT_S,
    FIRST_STREAMS,
    MAX_BODY,
    MOST_SIDES,
    MOST_STREAMS,
    ROOM_STEP,
    STREAM_ROOM,
    Held,
)  # fmt: skip
from inpod.agent.incoming.http.h2_outside import Outside, Timer
from inpod.agent.incoming.http.h2_request import Request, without_expectation
from inpod.agent.incoming.http.h2_sending import Sending, Wire
from inpod.agent.incoming.http.h2_side import Side
from inpod.agent.incoming.http.h2_stream import Stream
from inpod.agent.incoming.http.hpack import MAX_LIST, Block, encode

CONTINUE = encode(((b":status", b"100"),))


class Routing(Answering):
    """Sends requests to their sides.

    Attributes:
        is_over: Nothing of the client counts any more.
    """

    def __init__(self, outside: Outside, chooser: Chooser, counts: Counts, held: Held) -> None:
        super().__init__(held)
        self.is_over = False
        self._outside = outside
        self._chooser = chooser
        self._counts = counts
        self._last = 0
        self._max_list = MAX_LIST
        self._advertised = {frames.MAX_CONCURRENT_STREAMS: FIRST_STREAMS, frames.ENABLE_CONNECT_PROTOCOL: 0}
        self._initial_room = frames.WINDOW
        self._current: dict[Taker | None, Side] = {}
        self._sides: set[Sending] = set()
        self._written: list[Sending] = []
        self._says_goodbye = False
        self._original_is_gone = False
        self._agreement = Agreement(self)

    # What the sides do.

    def opened(self, side: Side, wire: Wire) -> None:
        """A side is there that was asked for."""
        if self.is_over:
            wire.abort()
            return
        if side.taker is None:
            self._original_is_gone = False
        values = {
            frames.HEADER_TABLE_SIZE: 0,
            frames.ENABLE_PUSH: 0,
            frames.INITIAL_WINDOW_SIZE: self._initial_room,
            frames.MAX_HEADER_LIST_SIZE: self._max_list,
        }
        side.begin(wire, values)
        self.flush()

    def refused(self, side: Side) -> None:
        """A side is not to be had: the original gets the requests; without it, the client may ask again."""
        self._forget_side(side)
        for stream in list(side.waiting):
            del side.waiting[stream]
            if side.taker is None:
                self.refuse(stream)
            else:
                self._route(stream, None)
        self.flush()

    def side_data(self, side: Side, data: bytes) -> None:
        """Bytes of a side came."""
        if side.is_lost:
            return
        try:
            side.feed(data)
        except Http2Error as error:
            side.output.append(frames.goaway(0, error.code, error.reason))
            self.lose(side)
        self.flush()

    def side_lost(self, side: Side) -> None:
        """A side is gone."""
        self.lose(side)
        self.flush()

    def side_is_full(self, side: Side, is_full: bool) -> None:
        """A side takes no more for now, or does again."""
        if not side.is_lost:
            side.set_full(is_full)
            self.flush()

    def flush(self) -> None:
        """Send what collected."""
        while self._written:
            side = self._written.pop()
            if side.is_overrun:
                self.lose(side)
            output, side.output = side.output, []
            if side.wire is not None and output and not side.is_lost:
                side.wire.write(output[0] if len(output) == 1 else b"".join(output))
        if self._original_is_gone and not self.streams and not self.is_over:
            self._finish(frames.NO_ERROR, "")
        if self.output:
            output, self.output = self.output, []
            self._outside.write(output[0] if len(output) == 1 else b"".join(output))
        if self.is_over:
            self._outside.finish()

    # What sides ask: `Owner`.

    def has_output(self, side: Sending) -> None:
        """A side has something to send."""
        self._written.append(side)

    def now(self) -> float:
        """Return the time in seconds."""
        return self._outside.now()

    def sent(self, stream: Stream) -> None:
        """A request was sent to its side."""
        assert stream.side is not None
        self._counts.note(stream.side.taker)

    def grant(self, stream: Stream) -> None:
        """A side takes more of a stream: so may the client send more."""
        if stream.request_ended or stream.is_over:
            return
        more = min(stream.side_room - stream.waiting_size, STREAM_ROOM) - stream.client_room
        if more >= ROOM_STEP or (more > 0 and stream.client_room < ROOM_STEP):
            stream.client_room += more
            self.output.append(frames.window_update(stream.number, more))

    def side_settings(self, side: Sending, values: dict[int, int]) -> None:
        """SETTINGS of a side came: the client is told what the original can do."""
        if side.taker is not None:
            return
        news: dict[int, int] = {}
        for key, known in self._advertised.items():
            value = values.get(key, MOST_STREAMS if key == frames.MAX_CONCURRENT_STREAMS else known)
            # ENABLE_CONNECT_PROTOCOL, once sent, must not be taken back (RFC 8441 section 3).
            value = min(value, MOST_STREAMS) if key == frames.MAX_CONCURRENT_STREAMS else max(value, known)
            if value != known:
                news[key] = value
        if news:
            self._advertised.update(news)
            self.output.append(frames.settings(news))

    def side_agreed(self, side: Sending) -> None:
        """A side took SETTINGS of ours."""
        self._agreement.agreed(side)

    def retire(self, side: Sending) -> None:
        """A side takes no more requests."""
        if side.is_retired:
            return
        side.is_retired = True
        if self._current.get(side.taker) is side:
            del self._current[side.taker]
        for stream in list(side.waiting):
            del side.waiting[stream]
            self._route(stream, side.taker)
        if side.taker is None:
            self._say_goodbye()
        if not side.streams:
            self.lose(side)

    def lose(self, side: Sending) -> None:
        """End a side, and what it did not finish."""
        if side.is_lost:
            return
        self._forget_side(side)
        for stream in list(side.streams.values()):
            if not stream.answer_ended:
                self.end(stream, frames.INTERNAL_ERROR)
            elif stream.answers:
                self.answer_reset(stream, bytes(4))
            else:
                self.end(stream, frames.NO_ERROR)
        for stream in list(side.waiting):
            del side.waiting[stream]
            if side.is_speaking:
                self._route(stream, side.taker)
            else:
                self.refuse(stream)
        side.end()
        if side.taker is None and not self.is_over:
            self._original_is_gone = True
            self._say_goodbye()

    # What the agreement asks.

    def acknowledge(self) -> None:
        """All agree to SETTINGS of the client."""
        self.output.append(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after a while."""
        return self._outside.later(seconds, callback)

    def disagreed(self, sides: list[Sending]) -> None:
        """Sides do not agree in time."""
        for side in sides:
            self.lose(side)
        self.flush()

    # Parts.

    def _route(self, stream: Stream, taker: Taker | None) -> None:
        side = self._current.get(taker)
        if side is None:
            if len(self._sides) >= MOST_SIDES:
                self.refuse(stream)
                return
            side = Side(self, taker)
            self._current[taker] = side
            self._sides.add(side)
            self._outside.open(side)
        side.start(stream)

    def unroute(self, stream: Stream) -> None:
        """A stream that is over need not be sent any more."""
        for side in self._sides:
            side.waiting.pop(stream, None)

    def _collect(self, stream: Stream, request: Request, block: Block) -> None:
        """Wait for the body, which a filter looks at."""

        def limit_passed() -> None:
            self._choose_with_body(stream)
            self.flush()

        stream.head = request.head
        stream.limit = self._outside.later(BODY_LIMIT_S, limit_passed)
        if request.expects_continue:
            # We say it, so the side must not wait to say it.
            self.answer_headers(stream, 0, CONTINUE)
            stream.block = without_expectation(block)

    def _choose_with_body(self, stream: Stream) -> None:
        assert stream.limit is not None
        assert stream.head is not None
        stream.limit.cancel()
        pieces = stream.requests or ()
        body = b"".join(payload for kind, _, payload in pieces if kind == DATA)[:MAX_BODY]
        choice = self._chooser.choose(stream.head, body)
        stream.limit = stream.head = None
        self._route(stream, None if isinstance(choice, Fate) else choice)

    def _change_room(self, size: int) -> None:
        """The client takes more or less of each stream at first."""
        sides: list[Sending] = []
        if size != self._initial_room:
            sides = [side for side in self._sides if side.wire is not None]
            for side in sides:
                side.set_initial_window(size)
        # Less counts once nobody sends more.
        self._agreement.ask(sides if size < self._initial_room else [])
        self._initial_room = size

    def _say_goodbye(self) -> None:
        """Pass on that the original ends its connection: the client's next requests are for a new one, maybe elsewhere."""
        if not self._says_goodbye and not self.is_over:
            self._says_goodbye = True
            self.output.append(frames.goaway(frames.MAX_STREAM, frames.NO_ERROR))

    def _forget_side(self, side: Sending) -> None:
        side.is_lost = True
        self._sides.discard(side)
        if self._current.get(side.taker) is side:
            del self._current[side.taker]
        self._agreement.forget(side)

    def _finish(self, code: int, reason: str) -> None:
        """End the client's connection."""
        self.output.append(frames.goaway(self._last, code, reason))
        self.end_all()

    def end_all(self) -> None:
        """Let go of everything."""
        self.is_over = True
        for stream in list(self.streams.values()):
            self.drop(stream)
        for side in list(self._sides):
            self.lose(side)
        self._agreement.end()
