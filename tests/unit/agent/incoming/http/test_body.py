"""Bodies: where they end, what they carry, and what is no body."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.http.answers import AnswerReader, Turn
from inpod.agent.incoming.http.body import MAX_LINE, Body, Chunked, body_of
from inpod.agent.incoming.http.fields import CHUNKED
from inpod.agent.incoming.http.head import Request, parse_request

BROKEN = sorted((Path(__file__).with_name("corpus") / "bodies").iterdir())
GET = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
LAST_GET = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
HEAD = parse_request(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
CONNECT = parse_request(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def take_all(body: Body, pieces: list[bytes]) -> tuple[bytes, bytes, bytes]:
    """Return what belongs to the body, what it carries, and the rest."""
    waiting, taken, content = b"", b"", list[bytes]()
    for piece in pieces:
        waiting += piece
        if not body.is_done and body.broken is None:
            at = body.take(waiting, 0, content)
            taken += waiting[:at]
            waiting = waiting[at:]
    return taken, b"".join(content), waiting


def single_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]


def test_counted_body_ends_at_its_length() -> None:
    body = body_of(5)
    assert take_all(body, [b"he", b"lloGET"]) == (b"hello", b"hello", b"GET")
    assert body.is_done


def test_chunked_body_ends_behind_its_trailers() -> None:
    data = b'5;a="b"\r\nhello\r\n00A\r\n0123456789\r\n0;x\r\nX-Sum: 1\r\nY: 2\r\n\r\n'
    for pieces in ([data + b"GET"], single_bytes(data + b"GET")):
        body = body_of(CHUNKED)
        assert take_all(body, pieces) == (data, b"hello0123456789", b"GET")
        assert body.is_done


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_chunks_with_two_meanings_are_refused(path: Path) -> None:
    data = path.read_bytes()
    whole, by_byte = Chunked(), Chunked()
    taken = take_all(whole, [data])
    assert whole.broken is not None
    assert not whole.is_done
    assert take_all(by_byte, single_bytes(data)) == taken
    assert by_byte.broken is not None


@pytest.mark.parametrize("is_complete", [True, False])
def test_line_between_chunks_is_bounded(is_complete: bool) -> None:
    body = Chunked()
    take_all(body, [b"5;" + b"a" * MAX_LINE + b"\r\n" * is_complete])
    assert body.broken is not None
    longest = Chunked()
    take_all(longest, single_bytes(b"5;" + b"a" * (MAX_LINE - 2) + b"\r\n"))
    assert longest.broken is None


@given(
    st.one_of(st.binary(max_size=120), st.sampled_from([path.read_bytes() for path in BROKEN])),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_chunks_cut_anywhere_are_the_same(data: bytes, places: list[int]) -> None:
    for prefix in (b"", b"5\r\nhello\r\n", b"0\r\n"):
        whole, pieces = Chunked(), Chunked()
        assert take_all(whole, [prefix + data]) == take_all(pieces, cut(prefix + data, places))
        # What is wrong with a line may be told of its begin, or once it is whole.
        assert (whole.is_done, whole.broken is None) == (pieces.is_done, pieces.broken is None)


# Answers.


def answered(requests: list[Request], pieces: list[bytes], **options: bool) -> tuple[bytes, int, Turn | None]:
    """Return what is given to the client, how many requests wait, and the turn that the connection takes."""
    reader = AnswerReader()
    for request in requests:
        reader.expect(request, **options)
    given = b"".join(reader.feed(piece) for piece in pieces)
    return given + reader.rest(), len(reader.waiting), reader.turn


@pytest.mark.parametrize(
    ("request_", "data", "turn"),
    [
        (GET, OK, None),
        (GET, b"HTTP/1.1 204 None\r\n\r\n", None),
        (GET, b"HTTP/1.1 304 Same\r\nContent-Length: 10\r\n\r\n", None),
        (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", None),
        (GET, b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK, None),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", None),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Turn.CLOSE),
        (LAST_GET, OK, Turn.CLOSE),
        (GET, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", Turn.CLOSE),
    ],
)
def test_answer_is_complete(request_: Request, data: bytes, turn: Turn | None) -> None:
    assert answered([request_], [data]) == (data, 0, turn)
    assert answered([request_], single_bytes(data)) == (data, 0, turn)


@pytest.mark.parametrize(
    ("request_", "data", "turn"),
    [
        (GET, b"HTTP/1.1 200 OK\r\n\r\nto the end", Turn.UNTIL_CLOSE),
        (GET, b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n\x81\x01", Turn.TUNNEL),
        (CONNECT, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", Turn.TUNNEL),
        (GET, b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", Turn.ODD),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Turn.ODD),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok!", Turn.ODD),
        (GET, b"SSH-2.0-x\r\n", Turn.ODD),
    ],
)
def test_answer_whose_end_is_the_connection_s(request_: Request, data: bytes, turn: Turn) -> None:
    for pieces in ([data], single_bytes(data)):
        assert answered([request_], pieces) == (data, 1, turn)


def test_needless_continue_is_swallowed_once() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    for pieces in ([interim + OK], single_bytes(interim + OK)):
        assert answered([GET], pieces, swallows_continue=True) == (OK, 0, None)
        assert answered([GET], pieces) == (interim + OK, 0, None)
    assert answered([GET], [interim + interim + OK], swallows_continue=True) == (interim + OK, 0, None)


def test_pipelined_answers_are_counted() -> None:
    for pieces in ([OK * 3], single_bytes(OK * 3), cut(OK * 3, [10, 60, 70])):
        assert answered([GET] * 4, pieces) == (OK * 3, 1, None)
    assert answered([GET], [OK * 2]) == (OK * 2, 0, Turn.ODD)


@given(
    st.lists(
        st.sampled_from([OK, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n", b"\r\n", b"a"]), max_size=8
    ),
    st.lists(st.integers(0, 1000), max_size=6),
    st.booleans(),
)
def test_answers_cut_anywhere_are_the_same(parts: list[bytes], places: list[int], swallows: bool) -> None:
    data = b"".join(parts)
    whole = answered([GET], [data], swallows_continue=swallows)
    assert answered([GET], cut(data, places), swallows_continue=swallows) == whole
