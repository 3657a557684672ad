"""Copies of requests: each byte to whom its request is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.http.collected import MAX_BODY
from inpod.agent.incoming.http.splitter import RequestSplitter
from inpod.protocol.agent import PREFACE
from inpod.tunnel.stream import Stream


class Session:
    """A taker; nothing is opened here."""

    def open(self) -> Stream:
        raise AssertionError


ONE, TWO = Session(), Session()
GET_ONE = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
GET_TWO = b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n"
GET_OTHER = b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE_ONE = b"GET /one HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
CONNECT_ONE = b"CONNECT one:1 HTTP/1.1\r\nHost: one:1\r\n\r\n"
POST_BODY = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nfor one!"
POST_CHUNKS = b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfor on\r\n1\r\ne\r\n0\r\n\r\n"


def choose(head: Head, body: bytes | None) -> Taker | Fate:
    if b"body" in head.target:
        if body is None:
            return Fate.NEEDS_BODY
        return ONE if b"for one" in body else Fate.ORIGINAL
    return ONE if b"one" in head.target else TWO if b"two" in head.target else Fate.ORIGINAL


def split(pieces: list[bytes]) -> tuple[list[tuple[bytes, Taker | None]], str | None]:
    """Return the bytes of each in turn, neighbours joined, and why the rest was lost."""
    splitter = RequestSplitter(choose)
    joined: list[tuple[bytes, Taker | None]] = []
    for piece in pieces:
        for data, taker in splitter.feed(piece):
            if joined and joined[-1][1] is taker:
                joined[-1] = (joined[-1][0] + data, taker)
            else:
                joined.append((data, taker))
    return joined, splitter.lost


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


def test_each_gets_its_requests() -> None:
    pieces, lost = split([GET_ONE + GET_OTHER + GET_TWO + GET_ONE])
    assert pieces == [(GET_ONE, ONE), (GET_OTHER, None), (GET_TWO, TWO), (GET_ONE, ONE)]
    assert lost is None


@pytest.mark.parametrize("data", [POST_BODY, POST_CHUNKS])
def test_body_decides_about_head_and_body(data: bytes) -> None:
    assert split([data + GET_OTHER]) == ([(data, ONE), (GET_OTHER, None)], None)
    other = data.replace(b"for", b"not")
    assert split([other + GET_ONE]) == ([(other, None), (GET_ONE, ONE)], None)


def test_large_body_is_decided_by_its_begin() -> None:
    head = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (3 * MAX_BODY)
    begin = head + b"for one".ljust(MAX_BODY - 1)
    splitter = RequestSplitter(choose)
    assert splitter.feed(begin) == []
    assert splitter.feed(b"x") == [(begin + b"x", ONE)]
    assert splitter.feed(bytes(2 * MAX_BODY) + GET_OTHER) == [(bytes(2 * MAX_BODY), ONE), (GET_OTHER, None)]


def test_body_that_does_not_come_is_decided_without() -> None:
    splitter = RequestSplitter(choose)
    assert splitter.feed(POST_BODY[:-1]) == []
    assert splitter.waits_for_body
    assert splitter.decide() == [(POST_BODY[:-1], ONE)]
    assert not splitter.waits_for_body
    assert splitter.feed(b"!" + GET_OTHER) == [(b"!", ONE), (GET_OTHER, None)]


def test_what_follows_an_agreed_upgrade_belongs_to_it() -> None:
    frames = b"\x81\x85\x00\x00\x00\x00hello"
    assert split([UPGRADE_ONE, frames, GET_TWO]) == ([(UPGRADE_ONE + frames + GET_TWO, ONE)], None)


def test_requests_go_on_behind_a_refused_upgrade() -> None:
    assert split([UPGRADE_ONE + GET_TWO]) == ([(UPGRADE_ONE, ONE), (GET_TWO, TWO)], None)


OFFER_TWO = GET_TWO[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_http2_behind_its_offer_is_given_back_unread(step: int) -> None:
    splitter = RequestSplitter(choose)
    data = OFFER_TWO + PREFACE + b"\0\0\0\4\0\0\0\0\0"
    pieces: list[tuple[bytes, Taker | None]] = []
    while splitter.http2 is None:
        pieces += splitter.feed(data[:step])
        data = data[step:]
    assert pieces == [(GET_TWO, TWO)]
    assert splitter.lost is None
    assert (splitter.http2 + data).startswith(PREFACE)


def test_http2_without_an_offer_is_no_request() -> None:
    assert split([GET_TWO + PREFACE])[1] is not None
    assert split([OFFER_TWO + b"PRI * HTTP/3.0\r\n"])[1] is not None


def test_tunnel_is_not_read() -> None:
    assert split([CONNECT_ONE, GET_TWO]) == ([(CONNECT_ONE + GET_TWO, ONE)], None)


def test_lost_sync_is_said() -> None:
    splitter = RequestSplitter(choose)
    assert splitter.feed(GET_ONE + b"\x00" + GET_ONE) == [(GET_ONE, ONE)]
    assert splitter.lost is not None
    assert splitter.feed(GET_ONE) == []


PARTS = [GET_ONE, GET_TWO, GET_OTHER, UPGRADE_ONE, CONNECT_ONE, POST_BODY, POST_CHUNKS, b"\x81", b"GET", b"\r\n"]


@given(st.lists(st.sampled_from(PARTS), max_size=5), st.lists(st.integers(0, 2000), max_size=6))
def test_cut_anywhere_is_the_same_and_complete(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    pieces, lost = split([data])
    cut_pieces, cut_lost = split(cut(data, places))
    assert cut_pieces == pieces
    assert (cut_lost is None) == (lost is None)
    assert data.startswith(b"".join(piece for piece, _ in pieces))
