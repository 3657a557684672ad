"""A client, an original and programs of HTTP/2, of another implementation, around an exchange; all in memory."""

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

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2_exchange import Exchange
from inpod.agent.incoming.http.h2_frames import FrameReader
from inpod.agent.incoming.http.h2_limits import Held
from inpod.agent.incoming.http.h2_side import Side
from inpod.tunnel.stream import Stream

Values = dict[SettingCodes, int]
Fields = list[tuple[bytes, bytes]]
Cut = Callable[[int], int]
"""Given how many bytes there are, returns how many come at once."""


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


class Session:
    """Who takes requests. Its tunnel is not needed here."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> Stream:
        raise AssertionError("the exchange opens nothing itself")


class Filters:
    """Gives a session what has its name in the header x-for, or in the body where x-for is "body"."""

    def __init__(self, sessions: dict[bytes, Session]) -> None:
        self._sessions = sessions
        self.asked: list[tuple[Head, bytes | None]] = []

    def choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        self.asked.append((head, body))
        wanted = dict(head.headers).get(b"x-for", b"")
        if wanted == b"body":
            if body is None:
                return Fate.NEEDS_BODY
            wanted = next((name for name in self._sessions if name in body), b"")
        return self._sessions.get(wanted, Fate.ORIGINAL)


@dataclass
class Later:
    """Something for a later time."""

    at: float
    callback: Callable[[], None]
    is_cancelled: bool = False

    def cancel(self) -> None:
        self.is_cancelled = True


class World:
    """A client and whoever it reaches.

    Attributes:
        servers: By name, in the order of their connections.
        refuses: Names whose connections are refused.
        settings: SETTINGS of the servers, by name.
        is_raw: The client's library is left out; only its resets and goaways are noted.
        to_client: All that the client got.
    """

    def __init__(
        self, *, client_settings: Values | None = None, cut: Cut = lambda size: size, held: Held | None = None
    ) -> None:
        self.client = Peer(is_client=True, settings=client_settings)
        self.sessions = {b"one": Session("one"), b"two": Session("two")}
        self.filters = Filters(self.sessions)
        self.counts = Counts()
        self.held = held or Held()
        self.servers: dict[str, list[Server]] = defaultdict(list)
        self.refuses: set[str] = set()
        self.settings: dict[str, Values] = {}
        self.on_server: Callable[[Server], None] = lambda server: None
        self.is_finished = False
        self.is_raw = False
        self._reader = FrameReader()
        self.time = 1000.0
        self.timers: list[Later] = []
        self._cut = cut
        self._to_client = b""
        self.to_client = b""
        self._opening: list[Side] = []
        self._pairs: list[tuple[Side, Server]] = []
        self.exchange = Exchange(self, self.filters, self.counts, self.held)

    # What the exchange wants: `Outside`.

    def write(self, data: bytes) -> None:
        self._to_client += data
        self.to_client += data

    def finish(self) -> None:
        self.is_finished = True

    def open(self, side: Side) -> None:
        self._opening.append(side)

    def later(self, seconds: float, callback: Callable[[], None]) -> Later:
        timer = Later(self.time + seconds, callback)
        self.timers.append(timer)
        return timer

    def now(self) -> float:
        return self.time

    # What tests do.

    def ask(self, path: bytes, *more: tuple[bytes, bytes], ends: bool = True, method: bytes = b"GET") -> int:
        """Begin a request; return its stream."""
        number = self.client.h2.get_next_available_stream_id()
        fields = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"here"), *more]
        self.client.h2.send_headers(number, fields, end_stream=ends)
        return number

    def run(self) -> None:
        """Carry bytes until nobody has any."""
        moved = True
        while moved:
            moved = self._open() | self._from_client() | self._to_and_from_servers()
            if self._to_client:
                data, self._to_client = self._to_client, b""
                self._hear(data)
                moved = True

    def raw(self, data: bytes) -> None:
        """Let the client send bytes that its library would not. The library hears of nothing any more."""
        self.run()
        self.is_raw = True
        self.exchange.client_data(data)
        self.run()

    def advance(self, seconds: float) -> None:
        """Let time pass, once all that was sent came."""
        self.run()
        self.time += seconds
        for timer in [timer for timer in self.timers if timer.at <= self.time]:
            self.timers.remove(timer)
            if not timer.is_cancelled:
                timer.callback()
        self.run()

    def lose(self, server: Server) -> None:
        """End a server's connection from its end."""
        side = next(side for side, other in self._pairs if other is server)
        self.exchange.side_lost(side)
        self.run()

    def fill(self, server: Server, is_full: bool) -> None:
        """Let a server's connection take no more, or take more again."""
        side = next(side for side, other in self._pairs if other is server)
        self.exchange.side_is_full(side, is_full)

    def server(self, name: str) -> Server:
        """Return a server's newest connection."""
        return self.servers[name][-1]

    def _open(self) -> bool:
        opening, self._opening = self._opening, []
        for side in opening:
            name = side.taker.name if isinstance(side.taker, Session) else "original"
            if name in self.refuses:
                self.exchange.refused(side)
                continue
            server = Server(name, self.settings.get(name))
            self.on_server(server)
            self.servers[name].append(server)
            self._pairs.append((side, server))
            self.exchange.opened(side, server)
        return bool(opening)

    def _from_client(self) -> bool:
        data = b"" if self.is_raw else self.client.h2.data_to_send()
        for piece in self._pieces(data):
            self.exchange.client_data(piece)
        return bool(data)

    def _to_and_from_servers(self) -> bool:
        moved = False
        for side, server in list(self._pairs):
            data, server.to_send = server.to_send, b""
            if data and not server.is_raw:
                server.receive(data)
            answer = b"" if server.is_raw else server.h2.data_to_send()
            if not server.is_closed:
                for piece in self._pieces(answer):
                    self.exchange.side_data(side, piece)
            moved = moved or bool(data) or bool(answer)
        return moved

    def _hear(self, data: bytes) -> None:
        if not self.is_raw:
            self.client.receive(data)
            return
        for kind, _, number, payload in self._reader.feed(data):
            if kind == frames.GOAWAY:
                last, code = frames.read_goaway(payload)
                self.client.goaways.append((code, last))
            elif kind == frames.RST_STREAM:
                self.client.got[number].reset = frames.read_u32(payload)

    def _pieces(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        at = 0
        while at < len(data):
            size = self._cut(len(data) - at)
            pieces.append(data[at : at + size])
            at += size
        return pieces
