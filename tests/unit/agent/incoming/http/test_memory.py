"""What a stream of requests that are all different leaves in the agent's memory."""

import tracemalloc
from collections.abc import Iterator

import pytest

from inpod.agent.incoming.http import fields
from inpod.agent.incoming.http.head import MAX_HEAD, parse_request
from inpod.agent.incoming.http.requests import RequestReader
from inpod.agent.incoming.http.rules import Rules
from inpod.agent.incoming.http.splitter import RequestSplitter
from tests.unit.agent.incoming.http.test_connection_exchange import Played

REQUESTS = 1000
LONG = MAX_HEAD - 200
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
