"""Answers on their way to the client of an HTTP/2 connection. No I/O here.

Each stream's window is the client's business with its side: WINDOW_UPDATEs are handed on. The window of the connection is
ours, as the sides share it: what it does not let through waits in its stream.
"""

from collections import deque

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_frames import DATA, END_STREAM, HEADERS, PADDED, RST_STREAM
from inpod.agent.incoming.http.h2_limits import Held
from inpod.agent.incoming.http.h2_stream import Piece, Stream, append
from inpod.agent.incoming.http.hpack import EMPTY_TABLE


class Answering:
    """What a client gets.

    Attributes:
        held: Counts what waits.
        output: Collected until `Exchange.flush`.
        streams: All that are not over, by the client's numbers.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        self.output: list[bytes] = []
        self.streams: dict[int, Stream] = {}
        self._prefix = EMPTY_TABLE
        self._answer_room = frames.WINDOW
        # Streams whose answers wait for the connection's window, the one that waits longest first.
        self._blocked: dict[Stream, None] = {}

    def answer_headers(self, stream: Stream, flags: int, block: bytes) -> None:
        """A block of an answer came; stateless."""
        if stream.answers:
            self._keep(stream, (HEADERS, flags, block))
            return
        if self._prefix:
            block, self._prefix = self._prefix + block, b""
        self.output.append(frames.headers(flags, stream.number, block))
        if flags & END_STREAM:
            stream.answer_sent = True
            self.settle(stream)

    def answer_data(self, stream: Stream, flags: int, payload: bytes) -> None:
        """DATA of an answer came."""
        size = len(payload)
        if not stream.answers and size <= self._answer_room:
            self._answer_room -= size
            # Padding stays, as the side's window paid for it.
            self.output += (frames.data_head(size, flags & (END_STREAM | PADDED), stream.number), payload)
            assert stream.side is not None
            stream.side.passed_on(size)
            if flags & END_STREAM:
                stream.answer_sent = True
                self.settle(stream)
            return
        if flags & PADDED:
            payload = frames.content(payload)
            assert stream.side is not None
            stream.side.passed_on(size - len(payload))
        if self._keep(stream, (DATA, flags & END_STREAM, payload)):
            self._blocked[stream] = None
            if self._answer_room > 0:
                # Who has some window left may not open it before it got that much.
                self._more_room(0)

    def answer_reset(self, stream: Stream, payload: bytes) -> None:
        """A side ended a stream by RST_STREAM: after what it said before."""
        if stream.answers:
            if stream.side is not None:
                stream.side.forget(stream)
            self._keep(stream, (RST_STREAM, 0, payload))
            return
        self.output.append(frames.frame(RST_STREAM, 0, stream.number, payload))
        self.drop(stream)

    def settle(self, stream: Stream) -> None:
        """Something ended, of a request or its answer."""
        if stream.request_sent:
            if stream.answer_sent:
                self.drop(stream)
            elif stream.answer_ended and stream.side is not None:
                stream.side.forget(stream)

    def refuse(self, stream: Stream) -> None:
        """Nobody did anything about a request: the client may ask again."""
        self.end(stream, frames.REFUSED_STREAM)

    def end(self, stream: Stream, code: int, side_code: int | None = None) -> None:
        """End a stream early, for the client and (with a code for it) for its side."""
        self.output.append(frames.rst_stream(stream.number, code))
        if side_code is not None and stream.side is not None:
            stream.side.reset(stream, side_code)
        self.drop(stream)

    def drop(self, stream: Stream) -> None:
        """Forget a stream, and what waits of it."""
        stream.is_over = True
        self.streams.pop(stream.number, None)
        if stream.limit is not None:
            stream.limit.cancel()
            stream.limit = None
        if stream.waiting_size:
            self.held.give(stream.waiting_size)
            self.took(stream.waiting_size)
            stream.waiting_size = 0
        stream.requests = None
        side = stream.side
        if side is None:
            self.unroute(stream)
        else:
            side.forget(stream)
            if stream.answers_size:
                side.passed_on(stream.answers_size)
        self._blocked.pop(stream, None)
        if stream.answers_size:
            self.held.give(stream.answers_size)
            stream.answers_size = 0
        stream.answers = None

    def unroute(self, stream: Stream) -> None:
        """A stream that is over need not be sent any more."""
        raise NotImplementedError

    def took(self, size: int) -> None:
        """DATA of the client was passed on, or dropped."""
        raise NotImplementedError

    def _more_room(self, size: int) -> bool:
        """The client's window for the connection grew; return whether it may be so large."""
        self._answer_room += size
        for stream in list(self._blocked):
            if self._answer_room <= 0:
                break
            # To the end of the line, so that all get their turn.
            del self._blocked[stream]
            self._push_answers(stream)
        return self._answer_room <= frames.MAX_WINDOW

    def _push_answers(self, stream: Stream) -> None:
        queue, side = stream.answers, stream.side
        assert side is not None
        while queue:
            kind, flags, payload = queue[0]
            if kind == HEADERS:
                self.output.append(frames.headers(flags, stream.number, self._prefix + payload))
                self._prefix = b""
            elif kind == RST_STREAM:
                self.output.append(frames.frame(kind, 0, stream.number, payload))
                self.drop(stream)
                return
            else:
                size = len(payload)
                if size > self._answer_room:
                    size = self._answer_room
                    if size <= 0:
                        self._blocked[stream] = None
                        return
                    queue[0] = (kind, flags, payload[size:])
                    payload, flags = payload[:size], 0
                    queue.appendleft((kind, flags, payload))
                self.output.append(frames.frame(kind, flags, stream.number, payload))
                self._answer_room -= size
                stream.answers_size -= size
                self.held.give(size)
                side.passed_on(size)
            queue.popleft()
            if flags & END_STREAM:
                stream.answer_sent = True
        self.settle(stream)

    def _keep(self, stream: Stream, piece: Piece) -> bool:
        """Let something wait; return whether it does: the stream may have to end for it."""
        kind, _, payload = piece
        if kind == DATA:
            if not self.held.take(len(payload)):
                assert stream.side is not None
                stream.side.passed_on(len(payload))
                self.end(stream, frames.ENHANCE_YOUR_CALM, frames.ENHANCE_YOUR_CALM)
                return False
            stream.answers_size += len(payload)
        if stream.answers is None:
            stream.answers = deque()
        append(stream.answers, piece)
        return True
