"""A copy of those streams of an HTTP/2 connection that a session's filter matches. No I/O here.

Only the client's bytes are seen, not what the original answers: neither how large frames and header tables may be, nor which
windows there are. So everything is taken that a client may say to somebody.
"""

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Fate
from inpod.agent.incoming.http.h2_frames import DATA, END_STREAM, HEADERS, PADDED, FrameReader, Http2Error
from inpod.agent.incoming.http.h2_limits import BODY_LIMIT_S, MAX_BODY
from inpod.agent.incoming.http.h2_request import (
    MalformedError,
    Request,
    check_trailers,
    decode_request,
)
from inpod.agent.incoming.http.h2_stream import Stream
from inpod.agent.incoming.http.hpack import Block, Decoder, encode
from inpod.agent.incoming.http.splitter import Choose
from inpod.agent.incoming.mirror.h2_pieces import Pieces
from inpod.agent.incoming.mirror.h2_program import Clock, Program
from inpod.protocol.agent import PREFACE

MAX_TABLE = 64 * 1024
"""Largest table of header fields that a client may use: what no original is known to exceed."""


class Http2Copy:
    """Takes the client's bytes, beginning with the preface, cut anywhere.

    Attributes:
        lost: Why the rest of the connection cannot be read; None as long as it can.
        is_over: Never: what follows would only look like requests of HTTP/1.
        is_answered: Never: a program that ended its connection gets the next request on a new one.
    """

    is_over = False
    is_answered = False

    def __init__(self, choose: Choose, program: Program, clock: Clock) -> None:
        self.lost: str | None = None
        self._choose = choose
        self._program = program
        self._clock = clock
        self._preface = PREFACE
        self._pieces = Pieces()
        self._reader = FrameReader()
        self._decoder = Decoder()
        # Until the client says otherwise its table has the default size; then the one that its original allows.
        self._decoder.limit = MAX_TABLE
        self._last = 0

    def write(self, data: bytes) -> int:
        """As of a `Copy`; what is lost is counted elsewhere."""
        if self.lost is None:
            try:
                self._read(data)
            except Http2Error as error:
                self.lost = error.reason
                self._program.finish()
            self._program.pass_on()
        return 0

    def finish(self) -> None:
        """As of a `Copy`."""
        self._program.finish()

    def abort(self) -> None:
        """As of a `Copy`. Who got what it wanted may break off, so what was said to the end counts here, too."""
        self._program.finish()

    def flush(self) -> None:
        """As of a `Copy`."""
        self._program.flush()

    def cut(self) -> None:
        """As of a `Copy`."""
        self._program.cut()

    # Frames of the client.

    def _read(self, data: bytes) -> None:
        if self._preface:
            size = min(len(data), len(self._preface))
            if data[:size] != self._preface[:size]:
                raise Http2Error(frames.PROTOCOL_ERROR, "no preface")
            self._preface, data = self._preface[size:], data[size:]
        streams = self._program.streams
        for kind, flags, number, payload in self._reader.feed(self._pieces.feed(data)):
            if kind == HEADERS:
                self._on_headers(flags, number, payload)
            elif (stream := streams.get(number)) is None:
                pass  # the original's alone, or nobody's business but the two ends'
            elif kind == DATA:
                self._on_data(stream, flags, payload)
            elif kind == frames.RST_STREAM:
                self._program.reset(stream, frames.read_u32(payload))

    def _on_headers(self, flags: int, number: int, block: bytes) -> None:
        if not number & 1:
            raise Http2Error(frames.PROTOCOL_ERROR, "even stream of a client")
        decoded, request = decode_request(self._decoder, block)
        if number > self._last:
            self._last = number
            if request is not None:  # else the original refuses it
                self._on_request(flags, number, request, decoded, block)
        elif (stream := self._program.streams.get(number)) is not None:
            self._on_trailers(stream, flags, decoded, block)

    def _on_request(self, flags: int, number: int, request: Request, decoded: Block, block: bytes) -> None:
        has_ended = bool(flags & END_STREAM)
        choice = self._choose(request.head, b"" if has_ended else None)
        needs_body = choice is Fate.NEEDS_BODY and not has_ended
        if isinstance(choice, Fate) and not needs_body:
            return
        stream = Stream(number, _stateless(decoded, block))
        stream.request_ended = has_ended
        stream.body_left = request.length
        if (has_ended and request.length) or not self._program.add(stream):
            return
        if needs_body:
            stream.head = request.head
            stream.limit = self._clock.call_later(BODY_LIMIT_S, lambda: self._on_limit(stream))
        else:
            self._program.start(stream)

    def _on_data(self, stream: Stream, flags: int, payload: bytes) -> None:
        if stream.request_ended:
            self._program.reset(stream, frames.STREAM_CLOSED)
            return
        content = frames.content(payload) if flags & PADDED else payload
        if stream.body_left is not None:
            stream.body_left -= len(content)
            if stream.body_left < 0 or (stream.body_left and flags & END_STREAM):
                self._program.reset(stream, frames.PROTOCOL_ERROR)
                return
        self._program.data(stream, flags, content)
        self._goes_on(stream)

    def _on_trailers(self, stream: Stream, flags: int, decoded: Block, block: bytes) -> None:
        try:
            if stream.request_ended or not flags & END_STREAM:
                raise MalformedError("second head")
            if stream.body_left:
                raise MalformedError("content-length")
            check_trailers(decoded.fields)
        except MalformedError:
            self._program.reset(stream, frames.PROTOCOL_ERROR)
            return
        self._program.trailers(stream, _stateless(decoded, block))
        self._goes_on(stream)

    # What a filter wants to see.

    def _goes_on(self, stream: Stream) -> None:
        if stream.limit is not None and (stream.request_ended or stream.waiting_size >= MAX_BODY):
            self._choose_with_body(stream)

    def _on_limit(self, stream: Stream) -> None:
        self._choose_with_body(stream)
        self._program.flush()

    def _choose_with_body(self, stream: Stream) -> None:
        assert stream.limit is not None
        assert stream.head is not None
        stream.limit.cancel()
        body = b"".join(payload for kind, _, payload in stream.requests or () if kind == DATA)[:MAX_BODY]
        choice = self._choose(stream.head, body)
        stream.limit = stream.head = None
        if isinstance(choice, Fate):
            self._program.drop(stream)
        else:
            self._program.start(stream)


def _stateless(decoded: Block, block: bytes) -> bytes:
    """Return a block in a form that needs no dynamic table."""
    return block[decoded.start :] if decoded.is_stateless else encode(decoded.fields, decoded.never)
