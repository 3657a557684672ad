"""One HTTP/2 connection of a client, each stream to whom it is for. No I/O here.

Towards the client we are a server. Each side (the original, each session) is a connection of ours, opened when a stream is
for it. Header blocks and DATA are passed on as they came, under other stream numbers: the client and the sides are told to
have no dynamic tables (SETTINGS_HEADER_TABLE_SIZE 0), so a block means the same on every connection.

    h2_exchange     what the client says
    h2_routing      whom its streams are for
    h2_sending      requests on their way to a side
    h2_side         what a side says
    h2_answering    answers on their way to the client
"""

from collections import deque

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Chooser, Fate
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2_frames import DATA, END_STREAM, HEADERS, PADDED, FrameReader, Http2Error
from inpod.agent.incoming.http.h2_limits import (
    FIRST_STREAMS,
    MOST_STREAMS,
    ROOM,
    ROOM_STEP,
    Held,
    idle_frames,
    resets,
)  # fmt: skip
from inpod.agent.incoming.http.h2_outside import Outside
from inpod.agent.incoming.http.h2_request import MalformedError, Request, check_trailers, decode_request
from inpod.agent.incoming.http.h2_routing import Routing
from inpod.agent.incoming.http.h2_stream import Stream, append
from inpod.agent.incoming.http.hpack import EMPTY_TABLE, MAX_LIST, Block, Decoder, encode
from inpod.protocol.agent import PREFACE

_NEEDS_BODY = Fate.NEEDS_BODY
"""For what runs with each request: Python 3.11 takes long to find a member in its class."""


class Exchange(Routing):
    """Decides what becomes of each stream of one client connection."""

    def __init__(self, outside: Outside, chooser: Chooser, counts: Counts, held: Held) -> None:
        super().__init__(outside, chooser, counts, held)
        self._reader = FrameReader()
        self._decoder = Decoder()
        self._preface = PREFACE
        self._has_settings = False
        self._room = ROOM
        self._taken = 0
        self._idle = idle_frames()
        self._resets = resets()
        settings = {
            frames.HEADER_TABLE_SIZE: 0,
            frames.MAX_CONCURRENT_STREAMS: FIRST_STREAMS,
            frames.MAX_HEADER_LIST_SIZE: MAX_LIST,
        }
        self.output += (frames.settings(settings), frames.window_update(0, ROOM - frames.WINDOW))

    def client_data(self, data: bytes) -> None:
        """Bytes of the client came, beginning with the preface."""
        if self.is_over:
            return
        try:
            if self._preface:
                data = self._after_preface(data)
            for kind, flags, number, payload in self._reader.feed(data):
                if not self._has_settings:
                    self._on_first(kind, flags)
                if kind == DATA:
                    self._on_data(flags, number, payload)
                elif kind == HEADERS:
                    self._on_headers(flags, number, payload)
                else:
                    self._on_other(kind, flags, number, payload)
        except Http2Error as error:
            self._finish(error.code, error.reason)
        self.flush()

    def client_lost(self) -> None:
        """The client is gone."""
        self.end_all()

    def took(self, size: int) -> None:
        """DATA of the client was passed on, or dropped."""
        self._taken += size
        if self._taken >= ROOM // 4:
            self._room += self._taken
            self.output.append(frames.window_update(0, self._taken))
            self._taken = 0

    # Frames of the client.

    def _after_preface(self, data: bytes) -> bytes:
        size = min(len(data), len(self._preface))
        if data[:size] != self._preface[:size]:
            raise Http2Error(frames.PROTOCOL_ERROR, "no preface")
        self._preface = self._preface[size:]
        return data[size:]

    def _on_first(self, kind: int, flags: int) -> None:
        if kind != frames.SETTINGS or flags & frames.ACK:
            raise Http2Error(frames.PROTOCOL_ERROR, "does not begin with SETTINGS")
        self._has_settings = True

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._room -= size
        if self._room < 0:
            raise Http2Error(frames.FLOW_CONTROL_ERROR, "more than the connection's window")
        if not size and not flags & END_STREAM:
            self._count_idle()
        stream = self._known(number)
        if stream is None:
            self.took(size)
            return
        stream.client_room -= size
        if stream.request_ended or stream.client_room < 0:
            self.took(size)
            code = frames.STREAM_CLOSED if stream.request_ended else frames.FLOW_CONTROL_ERROR
            self.end(stream, code, frames.CANCEL)
            return
        if flags & END_STREAM:
            stream.request_ended = True
        side = stream.side
        if side is None or not side.data(stream, flags, payload):
            self._keep_request(stream, flags, payload)
            return
        self.took(size)
        if stream.request_sent:
            self.settle(stream)
        elif stream.client_room < ROOM_STEP:
            self.grant(stream)

    def _keep_request(self, stream: Stream, flags: int, payload: bytes) -> None:
        """Let DATA wait, for the decision or for room."""
        if flags & PADDED:
            size = len(payload)
            payload = frames.content(payload)
            self.took(size - len(payload))
        size = len(payload)
        if not self.held.take(size):
            self.took(size)
            self.end(stream, frames.ENHANCE_YOUR_CALM, frames.CANCEL)
            return
        stream.waiting_size += size
        if stream.requests is None:
            stream.requests = deque()
        append(stream.requests, (DATA, flags & END_STREAM, payload))
        self._goes_on(stream)

    def _goes_on(self, stream: Stream) -> None:
        """Something more of a request waits."""
        if stream.side is not None:
            stream.side.push(stream)
        elif stream.limit is not None and (stream.request_ended or stream.client_room <= 0):
            self._choose_with_body(stream)

    def _on_headers(self, flags: int, number: int, block: bytes) -> None:
        if not number & 1:
            raise Http2Error(frames.PROTOCOL_ERROR, "even stream of a client")
        decoded, request = decode_request(self._decoder, block)
        if not decoded.is_stateless:
            block = encode(decoded.fields, decoded.never)
        elif decoded.start:
            block = block[decoded.start :]
        if number > self._last:
            self._last = number
            self._on_request(flags, number, request, decoded, block)
        else:
            stream = self.streams.get(number)
            if stream is not None:
                self._on_trailers(stream, flags, decoded, block)

    def _on_request(self, flags: int, number: int, request: Request | None, decoded: Block, block: bytes) -> None:
        if request is None:
            self.output.append(frames.rst_stream(number, frames.PROTOCOL_ERROR))
            return
        if len(self.streams) >= MOST_STREAMS:
            self.output.append(frames.rst_stream(number, frames.REFUSED_STREAM))
            return
        stream = Stream(number, block)
        self.streams[number] = stream
        self._counts.seen += 1
        stream.request_ended = bool(flags & END_STREAM)
        body = b"" if stream.request_ended else None
        choice = self._chooser.choose(request.head, body)
        if choice is _NEEDS_BODY and body is None:
            self._collect(stream, request, decoded)
        else:
            self._route(stream, None if isinstance(choice, Fate) else choice)

    def _on_trailers(self, stream: Stream, flags: int, decoded: Block, block: bytes) -> None:
        if stream.request_ended:
            self.end(stream, frames.STREAM_CLOSED, frames.CANCEL)
            return
        try:
            if not flags & END_STREAM:
                raise MalformedError("second head")
            check_trailers(decoded.fields)
        except MalformedError:
            self.end(stream, frames.PROTOCOL_ERROR, frames.CANCEL)
            return
        stream.request_ended = True
        if stream.requests is None:
            stream.requests = deque()
        append(stream.requests, (HEADERS, END_STREAM, block))
        self._goes_on(stream)

    def _on_other(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.WINDOW_UPDATE:
            self._on_window_update(number, frames.read_u32(payload) & frames.MAX_WINDOW)
            return
        if kind == frames.RST_STREAM:
            self._on_reset(number, frames.read_u32(payload))
            return
        self._count_idle()
        if kind == frames.PING:
            if not flags & frames.ACK:
                self.output.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif kind == frames.SETTINGS:
            if flags & frames.ACK:
                self._decoder.limit = 0
            else:
                self._on_settings(frames.read_settings(payload))
        elif kind == frames.PUSH_PROMISE:
            raise Http2Error(frames.PROTOCOL_ERROR, "client that pushes")

    def _on_settings(self, values: dict[int, int]) -> None:
        if self._agreement.is_full:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "too many SETTINGS")
        self._max_list = min(values.get(frames.MAX_HEADER_LIST_SIZE, self._max_list), MAX_LIST)
        if frames.HEADER_TABLE_SIZE in values:
            # A decoder with a smaller table than before waits for this (RFC 7541 section 4.2).
            self._prefix = EMPTY_TABLE
        self._change_room(values.get(frames.INITIAL_WINDOW_SIZE, self._initial_room))

    def _on_window_update(self, number: int, size: int) -> None:
        if not number:
            if not size or not self._more_room(size):
                code = frames.FLOW_CONTROL_ERROR if size else frames.PROTOCOL_ERROR
                raise Http2Error(code, "window of the connection")
            return
        stream = self._known(number)
        if stream is None or stream.answer_ended:
            return
        if not size:
            self.end(stream, frames.PROTOCOL_ERROR, frames.CANCEL)
        elif stream.side is not None:
            stream.side.credit(stream, size)
        else:
            stream.credit += size
            if stream.credit > frames.MAX_WINDOW:
                self.end(stream, frames.FLOW_CONTROL_ERROR)

    def _on_reset(self, number: int, code: int) -> None:
        stream = self._known(number)
        if not self._resets.take(self.now()):
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "too many requests taken back")
        if stream is not None:
            if stream.side is not None:
                stream.side.reset(stream, code)
            self.drop(stream)

    def _known(self, number: int) -> Stream | None:
        """Return a stream that is not over.

        Raises:
            Http2Error: There never was one with this number.
        """
        stream = self.streams.get(number)
        if stream is None and (number > self._last or not number & 1):
            raise Http2Error(frames.PROTOCOL_ERROR, "stream that was not opened")
        return stream

    def _count_idle(self) -> None:
        if not self._idle.take(self.now()):
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "too many frames that say nothing")
