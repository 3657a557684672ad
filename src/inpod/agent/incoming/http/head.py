"""Heads of HTTP/1 messages, read strictly (RFC 9112). No I/O here.

Only what every server must read in the same way is read at all. Anything else raises `NotHttp`, and its connection is
passed on whole: we must never see other requests in the bytes than the original does.
"""

from dataclasses import dataclass

from inpod.agent.incoming.http.choice import MAX_SHARED, Head
from inpod.agent.incoming.http.fields import CHUNKED, MAX_FIELDS, TEXT, TOKEN, UNTIL_CLOSE, Fields, NotHttp
from inpod.agent.incoming.http.upgrade import without_offer

MAX_HEAD = 64 * 1024
"""Largest head, in bytes."""

_MAX_METHOD = 32
_METHODS = frozenset([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"])
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")

_MAX_KNOWN_HEADS = 512
_known_requests: dict[bytes, "Request"] = {}
_known_responses: dict[bytes, "Response"] = {}
"""Heads that were read, by their bytes: clients and servers say the same again and again."""

known_response = _known_responses.get
"""Returns the response of exactly these bytes when they were read before. The method itself: each answer is looked up."""


# None is frozen: a frozen one takes six times as long to make, and one is made for each head that is not known.


@dataclass(slots=True, eq=False)
class Manner:
    """What counts of a request once it is sent: how its answer ends, and what may follow. Small, as it is kept so long.

    Attributes:
        keeps_alive: Further requests may follow.
        is_barrier: What follows may be another protocol; the answer tells.
        is_connect: An answer of success ends HTTP on the connection.
        has_no_answer_body: HEAD: the answer ends with its head.
        has_plain_answer: It says nothing by which its answer would end elsewhere than that says, or be the last.
        offers_http2: It offered to go on in HTTP/2, and is passed on without that.
    """

    keeps_alive: bool
    is_barrier: bool
    is_connect: bool
    has_no_answer_body: bool
    has_plain_answer: bool
    offers_http2: bool


@dataclass(slots=True, eq=False)
class Request:
    """A request as its head tells. Never changed: many connections share one.

    Attributes:
        head: What the filters look at. The same bytes give the same object, most times.
        length: Of the body in bytes, or CHUNKED.
        expects_continue: The client waits for "100 Continue" before it sends the body.
        is_plain: It is no more than its head, passed on as it came, and the next one may follow.
        passed: The head as it is passed on, when that is not as it came.
    """

    head: Head
    length: int
    expects_continue: bool
    is_plain: bool
    passed: bytes | None
    manner: Manner


@dataclass(slots=True, eq=False)
class Response:
    """A response as its head tells. Never changed: many connections share one.

    Attributes:
        length: Of the body in bytes, CHUNKED or UNTIL_CLOSE; for a request and a status that have one.
        keeps_alive: The connection stays open afterwards.
        is_plain: It is final, has a counted body and keeps the connection.
    """

    status: int
    length: int
    keeps_alive: bool
    is_plain: bool


def head_end(data: bytes, start: int, searched: int) -> int:
    """Return where the head that begins at `start` ends, or -1 when it is not complete.

    Args:
        searched: Up to where a former call looked, `start` at first.

    Raises:
        NotHttp: It is too long, or a reader who is less strict would have found its end elsewhere.
    """
    end = data.find(b"\r\n\r\n", max(start, searched - 3))
    if end >= 0:
        if end + 4 - start > MAX_HEAD:
            raise NotHttp("its head is too long")
        return end + 4
    if len(data) - start >= MAX_HEAD:
        raise NotHttp("its head is too long")
    again = max(start, searched - 1)
    fresh = data[again:]
    # Other faults can wait until the head is complete; but a lenient server answers already what ends with LF alone.
    line_feeds = fresh.count(b"\n") - (again > start and fresh.startswith(b"\n"))
    if line_feeds > fresh.count(b"\r\n"):
        raise NotHttp("a line of its head ends with LF only")
    return -1


def check_request_begin(data: bytes, start: int) -> None:
    """Check that an incomplete head may become one of a request.

    Raises:
        NotHttp: It cannot.
    """
    line_end = data.find(b"\r", start)
    space = data.find(b" ", start, start + _MAX_METHOD + 1)
    method = data[start : space if space >= 0 else len(data)]
    if len(method) > _MAX_METHOD or (space >= 0 and not method) or method.translate(None, TOKEN):
        raise NotHttp("it does not begin with a method")
    if space < 0:
        return
    second = data.find(b" ", space + 1, len(data) if line_end < 0 else line_end)
    if second < 0:
        if line_end >= 0:
            raise NotHttp("its first line is no request line")
        return
    version = data[second + 1 : second + 10]
    if not any((known + b"\r").startswith(version) for known in _VERSIONS):
        raise NotHttp("its version of HTTP is not known")


def parse_request(raw: bytes) -> Request:
    """Read a whole head, up to and with its empty line.

    Raises:
        NotHttp: It is not strictly correct.
    """
    request = _known_requests.get(raw)
    if request is None:
        request = _parse_request(raw)
        if len(raw) <= MAX_SHARED:
            if len(_known_requests) >= _MAX_KNOWN_HEADS:
                _known_requests.clear()
            _known_requests[raw] = request
    return request


def whole_request(data: bytes) -> Request | None:
    """Return the request when `data` is exactly one head that is correct; what it is otherwise is not said here."""
    request = _known_requests.get(data)
    if request is None and data.endswith(b"\r\n\r\n") and data.find(b"\r\n\r\n") + 4 == len(data) <= MAX_HEAD:
        try:
            request = parse_request(data)
        except NotHttp:
            return None
    return request


def parse_response(raw: bytes) -> Response:
    """Read a whole head, up to and with its empty line.

    Raises:
        NotHttp: It is not strictly correct.
    """
    response = _known_responses.get(raw)
    if response is None:
        response = _parse_response(raw)
        if len(raw) <= MAX_SHARED:
            if len(_known_responses) >= _MAX_KNOWN_HEADS:
                _known_responses.clear()
            _known_responses[raw] = response
    return response


def _parse_request(raw: bytes) -> Request:
    lines = _lines(raw)
    parts = lines[0].split(b" ")
    if len(parts) != 3 or b"\t" in lines[0]:
        raise NotHttp("its first line is no request line")
    method, target, version = parts
    if method not in _METHODS and (not method or len(method) > _MAX_METHOD or method.translate(None, TOKEN)):
        raise NotHttp("its first line is no request line")
    if not target:
        raise NotHttp("its first line is no request line")
    if version not in _VERSIONS:
        raise NotHttp("its version of HTTP is not known")
    fields = Fields(lines[1:-2])
    length = fields.length(0)
    is_connect = method == b"CONNECT"
    if fields.hosts > 1:
        raise NotHttp("it has several Host fields")
    if length == CHUNKED and version != b"HTTP/1.1":
        raise NotHttp("it has Transfer-Encoding in HTTP/1.0")
    if length and is_connect:
        raise NotHttp("it is a CONNECT with a body")
    keeps_alive = fields.keeps_alive(version)
    changed = without_offer(lines, fields.upgrade) if fields.upgrade else None
    is_barrier = is_connect or bool(fields.upgrade if changed is None else changed[1])
    return Request(
        head=Head(method, target, fields.fields, len(raw)),
        length=length,
        expects_continue=fields.expects_continue and version == b"HTTP/1.1" and length != 0,
        is_plain=keeps_alive and not is_barrier and not length and changed is None,
        passed=None if changed is None else b"\r\n".join(changed[0]),
        manner=Manner(
            keeps_alive=keeps_alive,
            is_barrier=is_barrier,
            is_connect=is_connect,
            has_no_answer_body=method == b"HEAD",
            has_plain_answer=keeps_alive and not is_connect and method != b"HEAD",
            offers_http2=changed is not None,
        ),
    )


def _parse_response(raw: bytes) -> Response:
    lines = _lines(raw)
    line = lines[0]
    version, status = line[:8], line[9:12]
    if version not in _VERSIONS or line[8:9] != b" " or line[12:13] not in (b"", b" "):
        raise NotHttp("its answer has no status line")
    if len(status) != 3 or not status.isdigit() or status < b"100":
        raise NotHttp("its answer has no status")
    fields = Fields(lines[1:-2])
    length = fields.length(UNTIL_CLOSE)
    if length == CHUNKED and version != b"HTTP/1.1":
        raise NotHttp("its answer has Transfer-Encoding in HTTP/1.0")
    keeps_alive, code = fields.keeps_alive(version), int(status)
    return Response(code, length, keeps_alive, keeps_alive and length >= 0 and code >= 200 and code not in (204, 304))


def _lines(raw: bytes) -> list[bytes]:
    """Return the lines of a head; the last two are empty."""
    lines = raw.split(b"\r\n")
    # What remains without text are its line ends: so many, and no CR or LF alone.
    if raw.translate(None, TEXT) != b"\r\n" * (len(lines) - 1):
        raise NotHttp("a line of its head ends with LF only, or has a control character")
    if len(lines) - 3 > MAX_FIELDS:
        raise NotHttp("it has too many header fields")
    return lines
