"""A side of an HTTP/2 connection: what the original, or the program of a session, says. No I/O here.

What goes to it is `sending`. A side that breaks the rules loses its own connection only.
"""

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Taker
from inpod.agent.incoming.http.h2_frames import DATA, END_STREAM, HEADERS, FrameReader, Http2Error
from inpod.agent.incoming.http.h2_limits import MOST_STREAMS, idle_frames
from inpod.agent.incoming.http.h2_sending import Owner, Sending
from inpod.agent.incoming.http.h2_stream import Stream
from inpod.agent.incoming.http.hpack import EMPTY_TABLE, Decoder, HpackError, TooLargeError, encode


class Side(Sending):
    """A connection to the original, or to the program of a session."""

    def __init__(self, owner: Owner, taker: Taker | None) -> None:
        super().__init__(owner, taker)
        self._reader = FrameReader()
        # None: what it sends is stateless for sure.
        self._decoder: Decoder | None = Decoder()
        self._idle = idle_frames()

    def feed(self, data: bytes) -> None:
        """Take what came.

        Raises:
            Http2Error: It breaks the rules.
        """
        for kind, flags, number, payload in self._reader.feed(data):
            if not self.is_speaking:
                self._on_first(kind, flags, payload)
            elif kind == DATA:
                self._on_data(flags, number, payload)
            elif kind == HEADERS:
                self._on_headers(flags, number, payload)
            else:
                self._on_other(kind, flags, number, payload)

    def _on_first(self, kind: int, flags: int, payload: bytes) -> None:
        if kind != frames.SETTINGS or flags & frames.ACK:
            raise Http2Error(frames.PROTOCOL_ERROR, "does not begin with SETTINGS")
        self.is_speaking = True
        self._limit = MOST_STREAMS
        self._on_settings({frames.INITIAL_WINDOW_SIZE: frames.WINDOW} | frames.read_settings(payload))

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._answer_room -= size
        if self._answer_room < 0:
            raise Http2Error(frames.FLOW_CONTROL_ERROR, "more than the connection's window")
        stream = self._stream(number)
        if stream is None:
            self.passed_on(size)
            return
        if stream.answer_ended or not stream.answer_began:
            raise Http2Error(frames.STREAM_CLOSED, "DATA before HEADERS or after the end")
        if flags & END_STREAM:
            stream.answer_ended = True
        elif not size:
            self._count_idle()
        self._owner.answer_data(stream, flags, payload)

    def _on_headers(self, flags: int, number: int, block: bytes) -> None:
        stream = self._stream(number)
        block = self._stateless(block)
        if stream is None:
            return
        if stream.answer_ended or (stream.answers and not flags & END_STREAM):
            raise Http2Error(frames.PROTOCOL_ERROR, "HEADERS where none may be")
        stream.answer_began = True
        if flags & END_STREAM:
            stream.answer_ended = True
        self._owner.answer_headers(stream, flags & END_STREAM, block)

    def _on_other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(number, frames.read_u32(payload) & frames.MAX_WINDOW)
            return
        if kind == frames.RST_STREAM:
            stream = self._stream(number)
            if stream is not None:
                self._owner.answer_reset(stream, payload)
            return
        self._count_idle()
        if kind == frames.SETTINGS:
            if flags & frames.ACK:
                self._on_agreed()
            else:
                self._on_settings(frames.read_settings(payload))
        elif kind == frames.PING:
            if not flags & frames.ACK:
                self._write(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.GOAWAY:
            last_stream, _ = frames.read_goaway(payload)
            # First, or what waits for its turn would have the place of what is refused.
            self._owner.retire(self)
            for late in [number for number in self.streams if number > last_stream]:
                self._owner.refuse(self.streams[late])
        elif kind == frames.PUSH_PROMISE:
            raise Http2Error(frames.PROTOCOL_ERROR, "pushes, which we do not take")

    def _on_settings(self, values: dict[int, int]) -> None:
        if values.get(frames.ENABLE_PUSH):
            raise Http2Error(frames.PROTOCOL_ERROR, "a server that takes pushes")
        self._limit = min(values.get(frames.MAX_CONCURRENT_STREAMS, self._limit), MOST_STREAMS)
        if frames.HEADER_TABLE_SIZE in values:
            # A decoder with a smaller table than before waits for this (RFC 7541 section 4.2).
            self._prefix = EMPTY_TABLE
        self._write(frames.frame(frames.SETTINGS, frames.ACK, 0))
        more = values.get(frames.INITIAL_WINDOW_SIZE, self._initial_room) - self._initial_room
        if more:
            self._initial_room += more
            for stream in list(self.streams.values()):
                stream.side_room += more
                if stream.side_room > frames.MAX_WINDOW:
                    raise Http2Error(frames.FLOW_CONTROL_ERROR, "window too large")
                self.push(stream)
        self._owner.side_settings(self, values)
        self._start_waiting()

    def _on_agreed(self) -> None:
        if not self.unagreed:
            raise Http2Error(frames.PROTOCOL_ERROR, "acknowledges no SETTINGS")
        self.unagreed -= 1
        if self._decoder is not None:
            self._decoder.limit = 0
        self._owner.side_agreed(self)

    def _on_window_update(self, number: int, size: int) -> None:
        if not number:
            self.room += size
            if not size or self.room > frames.MAX_WINDOW:
                raise Http2Error(frames.FLOW_CONTROL_ERROR if size else frames.PROTOCOL_ERROR, "window")
            self._pump()
            return
        stream = self._stream(number)
        if stream is None or stream.request_sent:
            return
        stream.side_room += size
        if not size or stream.side_room > frames.MAX_WINDOW:
            raise Http2Error(frames.FLOW_CONTROL_ERROR if size else frames.PROTOCOL_ERROR, "window of a stream")
        if stream.requests:
            self.push(stream)
        else:
            self._owner.grant(stream)

    # Parts.

    def _stream(self, number: int) -> Stream | None:
        """Return a stream that is not over.

        Raises:
            Http2Error: There never was one with this number.
        """
        stream = self.streams.get(number)
        if stream is None and (number >= self._next or not number & 1):
            raise Http2Error(frames.PROTOCOL_ERROR, "stream that we did not open")
        return stream

    def _stateless(self, block: bytes) -> bytes:
        """Return a block of an answer in a form that needs no dynamic table."""
        try:
            if self._decoder is None:
                return _without_sizes(block)
            decoded = self._decoder.decode(block)
        except HpackError as error:
            raise Http2Error(frames.COMPRESSION_ERROR, str(error)) from None
        except TooLargeError:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "header list too large") from None
        if not self._decoder.size and not self._decoder.limit and self.taker is None:
            # From here on there is nothing to keep up with. What a session's program says is looked at all the same: a
            # block that is wrong ends the client's connection, and with it the requests of others.
            self._decoder = None
        return block[decoded.start :] if decoded.is_stateless else encode(decoded.fields, decoded.never)

    def _count_idle(self) -> None:
        if not self._idle.take(self._owner.now()):
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "too many frames that say nothing")


def _without_sizes(block: bytes) -> bytes:
    at = 0
    while block[at : at + 1] == EMPTY_TABLE:
        at += 1
    if at < len(block) and block[at] & 0xE0 == 0x20:
        raise HpackError("table size over its limit")
    return block[at:] if at else block
