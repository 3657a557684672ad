"""Heads: what is read, what is refused, and what a strict reader says about the same bytes."""

from pathlib import Path

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inpod.agent.incoming.http.fields import CHUNKED, UNTIL_CLOSE, NotHttp
from inpod.agent.incoming.http.head import MAX_HEAD, parse_request, parse_response
from inpod.agent.incoming.http.requests import RequestReader

CORPUS = Path(__file__).with_name("corpus")
READ = sorted((CORPUS / "read").iterdir())
REFUSED = sorted((CORPUS / "refused").iterdir())

Seen = tuple[bytes, bytes, bytes]
"""Method, target and body of a request."""


def head(fields: bytes) -> bytes:
    return b"POST /path HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"


def read_all(pieces: list[bytes]) -> tuple[list[Seen], bytes, bool]:
    """Return the complete requests in `pieces`, what is left, and whether the rest is refused."""
    reader = RequestReader()
    seen: list[Seen] = []
    latest: tuple[bytes, bytes] | None = None
    content: list[bytes] = []
    for piece in pieces:
        reader.feed(piece)
        while reader.broken is None:
            if latest is not None:
                reader.body(content)
                if not reader.body_is_done:
                    break
                seen.append((*latest, b"".join(content)))
                latest = None
            elif (found := reader.head()) is not None:
                head = found[0].head
                latest, content = (head.method, head.target), []
            else:
                break
    return seen, reader.rest(), reader.broken is not None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = [*sorted(place % (len(data) + 1) for place in places), len(data)]
    starts = [0, *ends]
    return [data[start:end] for start, end in zip(starts, ends, strict=False) if start < end]


def test_request_is_read_with_its_fields_in_order() -> None:
    request = parse_request(b"PUT /a?b=c HTTP/1.1\r\nHost: web\r\nX-A:one\r\nx-a:\t two \r\nContent-Length: 12\r\n\r\n")
    assert (request.head.method, request.head.target) == (b"PUT", b"/a?b=c")
    assert request.head.headers == ((b"Host", b"web"), (b"X-A", b"one"), (b"x-a", b"two"), (b"Content-Length", b"12"))
    assert request.length == 12


@pytest.mark.parametrize(
    ("version", "connection", "keeps_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
        (b"1.1", b"Connection: foo, Close\r\n", False),
        (b"1.1", b"Connection: foo\r\nConnection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_who_keeps_the_connection(version: bytes, connection: bytes, keeps_alive: bool) -> None:
    assert parse_request(b"GET / HTTP/" + version + b"\r\n" + connection + b"\r\n").manner.keeps_alive is keeps_alive
    assert parse_response(b"HTTP/" + version + b" 200 OK\r\n" + connection + b"\r\n").keeps_alive is keeps_alive


def test_expectation_needs_a_body_to_come() -> None:
    assert parse_request(head(b"Expect: 100-Continue\r\nContent-Length: 1\r\n")).expects_continue
    assert not parse_request(head(b"Expect: 100-continue\r\n")).expects_continue


@pytest.mark.parametrize("path", READ, ids=lambda path: path.stem)
def test_correct_request_is_read(path: Path) -> None:
    seen, rest, is_refused = read_all([path.read_bytes()])
    assert (len(seen), rest, is_refused) == (1, b"", False)


@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_what_others_may_read_in_another_way_is_refused_whole(path: Path) -> None:
    data = path.read_bytes()
    assert read_all([data]) == ([], data, True)
    assert read_all([data[at : at + 1] for at in range(len(data))]) == ([], data, True)


def test_head_that_is_too_long_is_refused_complete_or_not() -> None:
    begin = b"GET / HTTP/1.1\r\nX: "
    longest = begin + b"a" * (MAX_HEAD - len(begin) - 4) + b"\r\n\r\n"
    assert len(read_all([longest])[0]) == 1
    for data in (begin + b"a" + longest[len(begin) :], begin + b"a" * MAX_HEAD):
        assert read_all([data])[2]
        assert read_all(cut(data, list(range(0, len(data), 1000))))[2]


def test_too_many_fields_are_refused() -> None:
    assert parse_request(head(b"X: a\r\n" * 99)).length == 0
    with pytest.raises(NotHttp):
        parse_request(head(b"X: a\r\n" * 100))


@pytest.mark.parametrize(
    "data", [b"\x16", b"EHLO host x", b"GET / FTP", b"a" * 40, b"(", b"GET /\r", b"GET / HTTP/1.1\r\nHost: a\n"]
)
def test_what_cannot_become_a_request_is_refused_at_once(data: bytes) -> None:
    assert read_all([data])[2]


@pytest.mark.parametrize(
    "data", [b"G", b"GET ", b"GET /", b"GET / H", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: a"]
)
def test_part_of_a_request_is_waited_for(data: bytes) -> None:
    assert read_all([data]) == ([], data, False)


@pytest.mark.parametrize(
    ("data", "status", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", 200, 3),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n", 200, CHUNKED),
        (b"HTTP/1.0 404 Not found here\r\n\r\n", 404, UNTIL_CLOSE),
        (b"HTTP/1.1 101 \r\n\r\n", 101, UNTIL_CLOSE),
    ],
)
def test_response_is_read(data: bytes, status: int, length: int) -> None:
    response = parse_response(data)
    assert (response.status, response.length) == (status, length)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
    ],
)
def test_response_with_two_meanings_is_refused(data: bytes) -> None:
    with pytest.raises(NotHttp):
        parse_response(data)


# Against h11, which reads strictly, too.

TOKENS = st.text("abcXYZ019-_.!~", min_size=1, max_size=8).map(str.encode)
VALUES = st.text([chr(code) for code in range(0x21, 0x7F)] + [" "], max_size=12).map(str.encode)
FIELDS = st.lists(
    st.tuples(TOKENS.map(lambda name: b"X" + name), VALUES).map(lambda field: b"%s: %s\r\n" % field), max_size=4
).map(b"".join)
CONTENTS = st.binary(max_size=30)


def _chunk(content: bytes, extension: bytes) -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(content), extension, content)


CHUNKED_BODIES = st.builds(
    lambda chunks, trailers: b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n" + trailers + b"\r\n",
    st.lists(st.builds(_chunk, st.binary(min_size=1, max_size=30), st.sampled_from([b"", b";a=b", b';a="c"']))),
    FIELDS,
)
COUNTED_BODIES = CONTENTS.map(lambda content: b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
REQUESTS = st.builds(
    lambda method, target, fields, body: b"%s /%s HTTP/1.1\r\nHost: a\r\n%s%s" % (method, target, fields, body),
    st.sampled_from([b"GET", b"POST", b"PUT", b"PURGE"]),
    TOKENS,
    FIELDS,
    st.one_of(st.just(b"\r\n"), COUNTED_BODIES, CHUNKED_BODIES),
)
STREAMS = st.lists(REQUESTS, min_size=1, max_size=4).map(b"".join)
# One at a time, and not CONNECT: h11 keeps no connection of HTTP/1.0, and takes our answer to CONNECT as the end of HTTP.
RECORDED = st.sampled_from([data for path in READ + REFUSED if not (data := path.read_bytes()).startswith(b"CONNECT")])
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


def read_by_h11(data: bytes) -> tuple[list[Seen], bool]:
    """Return the requests that h11 reads, and whether it refuses the rest."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    seen: list[Seen] = []
    method = target = content = b""
    try:
        while True:
            match event := connection.next_event():
                case h11.Request():
                    method, target, content = event.method, event.target, b""
                case h11.Data():
                    content += bytes(event.data)
                case h11.EndOfMessage():
                    seen.append((method, target, content))
                    connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    connection.send(h11.EndOfMessage())
                    if connection.our_state is not h11.DONE:
                        return seen, False
                    connection.start_next_cycle()
                case _:
                    return seen, False
    except h11.RemoteProtocolError:
        return seen, True


@pytest.mark.slow
@given(STREAMS, CUTS)
def test_requests_are_where_h11_sees_them(data: bytes, places: list[int]) -> None:
    assert read_all(cut(data, places)) == (read_by_h11(data)[0], b"", False)


@pytest.mark.slow
@given(
    st.one_of(STREAMS, RECORDED),
    st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 2), st.binary(max_size=3)), max_size=3),
)
@example(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n", [])
def test_damaged_requests_are_refused_or_mean_the_same_to_h11(
    data: bytes, damages: list[tuple[int, int, bytes]]
) -> None:
    for place, removed, added in damages:
        at = place % (len(data) + 1)
        data = data[:at] + added + data[at + removed :]
    seen, _, _ = read_all([data])
    theirs, is_refused = read_by_h11(data)
    both = min(len(seen), len(theirs))
    assert seen[:both] == theirs[:both]
    # h11 refuses more, as HTTP/1.1 without Host, but never reads on where we stop reading.
    assert len(seen) <= len(theirs) or is_refused


@given(st.binary(max_size=200), CUTS)
def test_no_bytes_are_lost_or_made(data: bytes, places: list[int]) -> None:
    whole = read_all([data])
    assert read_all(cut(data, places)) == whole
    assert whole[1] == b"" or data.endswith(whole[1])
