"""What a stream of requests that are all different leaves in the agent's memory."""

import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from inpod.agent.incoming.http import fields
from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Fate, Head
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2_exchange import Exchange
from inpod.agent.incoming.http.h2_limits import Held
from inpod.agent.incoming.http.h2_side import Side
from inpod.agent.incoming.http.head import MAX_HEAD, parse_request
from inpod.agent.incoming.http.hpack import encode
from inpod.agent.incoming.http.requests import RequestReader
from inpod.agent.incoming.http.rules import Rules
from inpod.agent.incoming.http.splitter import RequestSplitter
from inpod.protocol.agent import PREFACE
from tests.unit.agent.incoming.http.h2_world import Later
from tests.unit.agent.incoming.http.test_connection_exchange import Played

REQUESTS = 1000
LONG = MAX_HEAD - 200
STREAMS = 900
"""Of one connection of HTTP/2."""

LEFT_LIMIT = 16 * 1024 * 1024
"""The heads are 62 MiB."""


@pytest.fixture(autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def left() -> int:
    return tracemalloc.get_traced_memory()[0]


def test_answers_are_remembered_for_so_many_bytes_of_heads() -> None:
    rules = Rules.parse({"all": False, "clauses": [{"kind": "method", "text": "POST"}]})
    for number in range(REQUESTS):
        request = parse_request(b"GET / HTTP/1.1\r\nCookie: %0*d\r\n\r\n" % (LONG, number))
        assert rules.matches(request.head, b"") is False
    assert left() < LEFT_LIMIT


def test_names_are_known_only_when_they_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "_known_names", {})
    for number in range(REQUESTS):
        parse_request(b"GET / HTTP/1.1\r\nX%0*d: a\r\n\r\n" % (LONG, number))
    assert left() < LEFT_LIMIT


def test_reader_keeps_nothing_of_what_it_gave() -> None:
    readers = [RequestReader() for _ in range(REQUESTS)]
    for number, reader in enumerate(readers):
        head = b"PUT / HTTP/1.1\r\nContent-Length: 5\r\nCookie: %0*d\r\n\r\n" % (LONG, number)
        reader.feed(head[:-1])
        assert reader.head() is None
        reader.feed(head[-1:] + b"hel")
        assert reader.head() is not None
        assert reader.body() == b"hel"
    assert left() < LEFT_LIMIT


@pytest.mark.parametrize("length", [0, LONG])
def test_connections_at_rest_keep_nothing_of_head_and_body(length: int) -> None:
    """In the order of `Filters`: /other is decided by its head, /body when the body is there."""
    connections = []
    for number in range(REQUESTS):
        played = Played()
        splitter = RequestSplitter(played.filters.choose)
        if length:
            request = b"POST /body HTTP/1.1\r\nContent-Length: %d\r\n\r\n%0*d" % (length, length, number)
        else:
            request = b"GET /other HTTP/1.1\r\nCookie: %0*d\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" % (
                LONG,
                number,
            )
        for piece in (request[:100], request[100:]):
            played.client(piece)
            splitter.feed(piece)
        played.answer_all()
        # What the fakes wrote down.
        played.sent.clear()
        played.filters.bodies.clear()
        connections.append((played, splitter))
    assert left() < LEFT_LIMIT


class Nowhere:
    """A chooser that wants to see bodies, and the outside and the original of an exchange that keep nothing."""

    def __init__(self) -> None:
        self.sides: list[Side] = []

    def choose(self, head: Head, body: bytes | None) -> Fate:
        return Fate.NEEDS_BODY if body is None else Fate.ORIGINAL

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...

    def open(self, side: Side) -> None:
        self.sides.append(side)

    def later(self, seconds: float, callback: Callable[[], None]) -> Later:
        return Later(seconds, callback)

    def now(self) -> float:
        return 0.0


@pytest.mark.parametrize("length", [0, LONG])
def test_http2_requests_that_wait_for_their_answers_keep_nothing_of_head_and_body(length: int) -> None:
    nowhere = Nowhere()
    exchange = Exchange(nowhere, nowhere, Counts(), Held())
    exchange.client_data(PREFACE + frames.settings({}))
    room = frames.MAX_WINDOW - frames.WINDOW
    for number in range(1, 2 * STREAMS, 2):
        cookie = b"%0*d" % (LONG - length, number)
        block = encode(((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b"cookie", cookie)))
        exchange.client_data(frames.headers(0 if length else frames.END_STREAM, number, block))
        for at in range(0, length, frames.FRAME_BYTES):
            size = min(frames.FRAME_BYTES, length - at)
            exchange.client_data(
                frames.frame(frames.DATA, frames.END_STREAM * (at + size == length), number, bytes(size))
            )
        if number == 1:
            (side,) = nowhere.sides
            exchange.opened(side, nowhere)
            speaks = frames.settings({frames.INITIAL_WINDOW_SIZE: room}) + frames.window_update(0, room)
            exchange.side_data(side, speaks)
    assert len(exchange.streams) == STREAMS
    assert not any(stream.requests for stream in exchange.streams.values())
    assert left() < LEFT_LIMIT
