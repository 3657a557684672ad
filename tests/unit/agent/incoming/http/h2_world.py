"""A client, an original and programs of HTTP/2 around an exchange, and the time; all in memory."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http import hpack
from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2_exchange import Exchange
from inpod.agent.incoming.http.h2_frames import FrameReader
from inpod.agent.incoming.http.h2_limits import Held
from inpod.agent.incoming.http.h2_side import Side
from inpod.tunnel.stream import Stream
from tests.unit.agent.incoming.http.h2_peers import Peer, Server, Values

GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"here"))

Cut = Callable[[int], int]
"""Given how many bytes there are, returns how many come at once."""


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


def who(world: World, number: int) -> str:
    return dict(world.client.got[number].fields).get(b"x-who", b"").decode()


def assert_quiet(world: World) -> None:
    """Nothing is left of what was asked."""
    assert world.exchange.streams == {}
    assert world.held.size == 0
    for servers in world.servers.values():
        assert not any(server.h2.open_inbound_streams for server in servers if not server.is_closed)


def request(number: int, *more: tuple[bytes, bytes], flags: int = 0) -> bytes:
    return frames.headers(flags, number, hpack.encode((*GET, *more)))


def silent(server: Server) -> None:
    server.answers = False


def side_says(world: World, server: Server, data: bytes) -> None:
    """Let a side send bytes that its library would not. The library hears of nothing any more."""
    server.is_raw = True
    world.exchange.side_data(next(side for side, other in world._pairs if other is server), data)
    world.run()
