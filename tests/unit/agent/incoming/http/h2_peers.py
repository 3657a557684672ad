"""A client and a server of HTTP/2, of another implementation, that send as their windows let them."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    DataReceived,
    Event,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)  # fmt: skip
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame, GoAwayFrame

Values = dict[SettingCodes, int]
Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """What came of one stream."""

    fields: Fields = field(default_factory=list)
    informational: list[Fields] = field(default_factory=list)
    body: bytes = b""
    trailers: Fields | None = None
    has_ended: bool = False
    reset: int | None = None


class Peer:
    """One end of a connection that sends as its windows let it.

    Attributes:
        got: What came, by stream.
        goaways: The error code and the last stream of each GOAWAY that came.
        reads: Whether the other end may send more once something came.
    """

    def __init__(self, *, is_client: bool, settings: Values | None = None) -> None:
        config = H2Configuration(
            client_side=is_client,
            header_encoding=None,
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            normalize_inbound_headers=False,
        )
        self.h2 = H2Connection(config)
        values = dict(self.h2.local_settings) | (settings or {})
        self.h2.local_settings = Settings(client=is_client, initial_values=cast("Values", values))
        # The library takes no more frames after a GOAWAY, whatever it says.
        self.h2._frame_dispatch_table[GoAwayFrame] = self._on_goaway
        self.h2.initiate_connection()
        self.got: dict[int, Message] = defaultdict(Message)
        self.goaways: list[tuple[int, int]] = []
        self.reads = True
        self.unread: list[tuple[int, int]] = []
        self.on_request: Callable[[int, Message], None] = lambda number, message: None
        self.on_event: Callable[[Event], None] = lambda event: None
        self._outgoing: dict[int, tuple[bytes, Fields | None, int]] = {}

    def send(self, number: int, body: bytes, trailers: Fields | None = None, *, padding: int = 0) -> None:
        """Send a body and the end, as the windows let us."""
        self._outgoing[number] = (body, trailers, padding)
        self.pump()

    def pump(self) -> None:
        """Send what the windows let us."""
        for number, (body, trailers, padding) in list(self._outgoing.items()):
            try:
                while body:
                    room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
                    pad = padding if padding and room > padding + 1 else None
                    size = min(len(body), room - (pad + 1 if pad is not None else 0))
                    if size <= 0:
                        break
                    self.h2.send_data(number, body[:size], pad_length=pad)
                    body = body[size:]
                if body:
                    self._outgoing[number] = (body, trailers, padding)
                    continue
                del self._outgoing[number]
                if trailers is None:
                    self.h2.end_stream(number)
                else:
                    self.h2.send_headers(number, trailers, end_stream=True)
            except (StreamClosedError, ProtocolError):
                self._outgoing.pop(number, None)

    def read(self) -> None:
        """Let the other end send more, after it was kept waiting."""
        self.reads = True
        unread, self.unread = self.unread, []
        for size, number in unread:
            self._acknowledge(size, number)

    def receive(self, data: bytes) -> None:
        """Take what came."""
        for event in self.h2.receive_data(data):
            self.on_event(event)
            match event:
                case RequestReceived() | ResponseReceived():
                    self.got[event.stream_id].fields = list(event.headers)
                    if isinstance(event, RequestReceived):
                        self.on_request(event.stream_id, self.got[event.stream_id])
                case InformationalResponseReceived():
                    self.got[event.stream_id].informational.append(list(event.headers))
                case TrailersReceived():
                    self.got[event.stream_id].trailers = list(event.headers)
                case DataReceived():
                    self.got[event.stream_id].body += event.data
                    if self.reads:
                        self._acknowledge(event.flow_controlled_length, event.stream_id)
                    else:
                        self.unread.append((event.flow_controlled_length, event.stream_id))
                case StreamEnded():
                    self.got[event.stream_id].has_ended = True
                    self.on_end(event.stream_id)
                case StreamReset():
                    self.got[event.stream_id].reset = int(event.error_code)
                    self._outgoing.pop(event.stream_id, None)
                case _:
                    pass
        self.pump()

    def on_end(self, number: int) -> None:
        """A message came whole."""

    def _on_goaway(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        self.goaways.append((frame.error_code, frame.last_stream_id))
        return [], []

    def _acknowledge(self, size: int, number: int) -> None:
        with suppress(StreamClosedError, ProtocolError):
            self.h2.acknowledge_received_data(size, number)


class Server(Peer):
    """Answers each request with its own name and what came.

    Attributes:
        answers: Whether it does so by itself.
        extra: What it adds to each answer's body.
        is_closed: The exchange ended the connection.
        received: All that the exchange sent.
        is_raw: Its library is left out.
    """

    def __init__(self, name: str, settings: Values | None = None) -> None:
        super().__init__(is_client=False, settings=settings)
        self.name = name
        self.answers = True
        self.extra = b""
        self.trailers: Fields | None = None
        self.is_closed = False
        self.to_send = b""
        self.received = b""
        self.is_raw = False

    # What the exchange does: `Wire`.

    def write(self, data: bytes) -> None:
        self.to_send += data
        self.received += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def on_end(self, number: int) -> None:
        if self.answers:
            self.answer(number)

    def answer(self, number: int) -> None:
        message = self.got[number]
        fields = [(b":status", b"200"), (b"x-who", self.name.encode()), (b"x-path", dict(message.fields)[b":path"])]
        self.h2.send_headers(number, fields)
        self.send(number, message.body + self.extra, self.trailers)
