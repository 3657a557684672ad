"""Which header blocks of HTTP/2 are requests, and what they ask for."""

import pytest

from inpod.agent.incoming.http.h2_request import MalformedError, check_trailers, read_request
from inpod.agent.incoming.http.hpack import Field

GET: tuple[Field, ...] = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"here"))
CONNECT: tuple[Field, ...] = ((b":method", b"CONNECT"), (b":authority", b"there:80"))

MALFORMED: dict[str, tuple[Field, ...]] = {
    "nothing": (),
    "no method": GET[1:],
    "empty method": ((b":method", b""), *GET[1:]),
    "no scheme": (GET[0], *GET[2:]),
    "no path": (*GET[:2], GET[3]),
    "empty path": (*GET[:2], (b":path", b"")),
    "two paths": (*GET, (b":path", b"/other")),
    "two equal paths": (*GET, (b":path", b"/")),
    "pseudo field behind others": (*GET[:3], (b"a", b"b"), GET[3]),
    "pseudo field behind a cookie": (*GET[:3], (b"cookie", b"b"), GET[3]),
    "pseudo field of answers": (*GET, (b":status", b"200")),
    "unknown pseudo field": (*GET, (b":other", b"")),
    "path with a line break": (*GET[:2], (b":path", b"/ HTTP/1.1\r\na: b"), GET[3]),
    "upper case": (*GET, (b"X-For", b"a")),
    "space in a name": (*GET, (b"a b", b"")),
    "colon in a name": (*GET, (b"a:b", b"")),
    "empty name": (*GET, (b"", b"a")),
    "line break in a name": (*GET, (b"a\nb", b"")),
    "byte over 127 in a name": (*GET, (b"a\xff", b"")),
    "line break in a value": (*GET, (b"a", b"b\nc: d")),
    "carriage return in a value": (*GET, (b"a", b"b\rc")),
    "zero byte in a value": (*GET, (b"a", b"b\0")),
    "space before a value": (*GET, (b"a", b" b")),
    "tab after a value": (*GET, (b"a", b"b\t"), (b"c", b"d")),
    "only a space": (*GET, (b"a", b" ")),
    "connection": (*GET, (b"connection", b"close")),
    "transfer-encoding": (*GET, (b"transfer-encoding", b"chunked")),
    "upgrade": (*GET, (b"upgrade", b"websocket")),
    "te": (*GET, (b"te", b"gzip")),
    "another host": (*GET, (b"host", b"there")),
    "two hosts": (*GET[:3], (b"host", b"here"), (b"host", b"there")),
    "CONNECT with a path": (*CONNECT, (b":path", b"/")),
    "CONNECT to nowhere": CONNECT[:1],
    "protocol without CONNECT": (*GET, (b":protocol", b"websocket")),
    "protocol without a path": (*CONNECT, (b":protocol", b"websocket")),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused(name: str) -> None:
    # Twice: names that were found right are remembered.
    for _ in range(2):
        with pytest.raises(MalformedError):
            read_request(MALFORMED[name])


def test_authority_stands_as_host_when_there_is_none() -> None:
    assert read_request(GET).head.headers == ((b"host", b"here"),)
    assert read_request((*GET[:3], (b"a", b""), (b"host", b"There"))).head.headers == ((b"a", b""), (b"host", b"There"))
    assert read_request((*GET, (b"host", b"HERE"))).head.headers == ((b"host", b"HERE"),)


def test_pieces_of_a_cookie_are_one() -> None:
    fields = (*GET[:3], (b"cookie", b"a=1"), (b"b", b"2"), (b"cookie", b"c=3"), (b"te", b"trailers"))
    assert read_request(fields).head.headers == ((b"cookie", b"a=1; c=3"), (b"b", b"2"), (b"te", b"trailers"))
    assert read_request((*GET[:3], (b"cookie", b"a=1"))).head.headers == ((b"cookie", b"a=1"),)


def test_targets() -> None:
    assert (read_request(GET).head.method, read_request(GET).head.target) == (b"GET", b"/")
    assert read_request(CONNECT).head.target == b"there:80"
    websocket = (*CONNECT, (b":scheme", b"http"), (b":path", b"/chat"), (b":protocol", b"websocket"))
    assert read_request(websocket).head.target == b"/chat"


def test_expectations() -> None:
    assert read_request((*GET, (b"expect", b"100-Continue"))).expects_continue
    assert not read_request((*GET, (b"expect", b"other"))).expects_continue
    assert not read_request((*GET, (b"te", b"trailers"))).expects_continue


@pytest.mark.parametrize("field", [(b":path", b"/"), (b"A", b"b"), (b"a", b"b\r\n"), (b"connection", b"close")])
def test_malformed_trailers_are_refused(field: Field) -> None:
    check_trailers(((b"grpc-status", b"0"), (b"grpc-message", b"")))
    with pytest.raises(MalformedError):
        check_trailers(((b"grpc-status", b"0"), field))
