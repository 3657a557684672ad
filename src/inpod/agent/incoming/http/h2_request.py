"""Requests of HTTP/2: from the fields of a header block to a head (RFC 9113 section 8). No I/O here.

What one reader could take for another request than the next reader is refused: whoever gets a request must see the one that
was decided on.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from inpod.agent.incoming.http.choice import Head
from inpod.agent.incoming.http.hpack import Block, Decoder, Field

# Section 8.2.1: lower case, none of the bytes that other versions of HTTP give a meaning. The colon of pseudo fields is checked apart.
_NAME = re.compile(rb"[^\x00-\x20A-Z:\x7f-\xff]+")
_BAD_VALUE = re.compile(rb"[\x00\r\n]|^[ \t]|[ \t]\Z")

_OF_CONNECTION = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority", b":protocol"))


_MAX_REMEMBERED = 512
_MAX_NAME = 64
"""Longest block and name that are remembered."""


class MalformedError(Exception):
    """A request that breaks the rules; only its stream ends."""


class Request(NamedTuple):
    """A request's head.

    Attributes:
        expects_continue: The client may wait for "100 Continue" before it sends the body.
    """

    head: Head
    expects_continue: bool


def decode_request(decoder: Decoder, block: bytes) -> tuple[Block, Request | None]:
    """Return what a header block says and asks for; None when that is malformed.

    Raises:
        HpackError, TooLargeError: As `Decoder.decode`.
    """
    if not decoder.size and not decoder.limit and len(block) <= _MAX_REMEMBERED:
        return _remembered(block)
    return _decode_request(decoder, block)


def _decode_request(decoder: Decoder, block: bytes) -> tuple[Block, Request | None]:
    decoded = decoder.decode(block)
    try:
        return decoded, read_request(decoded.fields)
    except MalformedError:
        return decoded, None


@lru_cache(maxsize=256)
def _remembered(block: bytes) -> tuple[Block, Request | None]:
    # Callers say the same again and again, and a block says all by itself once there is no table.
    return _decode_request(Decoder(0), block)


def read_request(fields: tuple[Field, ...]) -> Request:
    """Return what a header block of a client asks for.

    Raises:
        MalformedError: It breaks the rules.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: list[Field] = []
    cookies: list[bytes] = []
    hosts: list[bytes] = []
    expects_continue = False
    for field in fields:
        name, value = field
        if name[:1] == b":":
            if headers or cookies or name in pseudo or name not in _PSEUDO or _BAD_VALUE.search(value):
                raise MalformedError("pseudo field")
            pseudo[name] = value
            continue
        _check(name, value)
        if name == b"cookie":
            # Section 8.2.3: may be cut in several fields, and means one.
            cookies.append(value)
            continue
        if name == b"host":
            hosts.append(value)
        elif name == b"expect":
            expects_continue = value.lower() == b"100-continue"
        headers.append(field)
    target = _target(pseudo)
    authority = pseudo.get(b":authority")
    if authority is not None:
        if not hosts:
            headers.insert(0, (b"host", authority))
        hosts.append(authority)
    if any(host.lower() != hosts[0].lower() for host in hosts[1:]):
        raise MalformedError("two hosts")
    if cookies:
        headers.append((b"cookie", b"; ".join(cookies)))
    return Request(Head(pseudo[b":method"], target, tuple(headers)), expects_continue)


def check_trailers(fields: tuple[Field, ...]) -> None:
    """Raise for trailers that could be taken for something else.

    Raises:
        MalformedError: They break the rules.
    """
    for name, value in fields:
        _check(name, value)


def _target(pseudo: dict[bytes, bytes]) -> bytes:
    method = pseudo.get(b":method")
    if not method:
        raise MalformedError("no method")
    if method == b"CONNECT" and b":protocol" not in pseudo:
        if b":scheme" in pseudo or b":path" in pseudo or not pseudo.get(b":authority"):
            raise MalformedError("CONNECT with a path, or to nowhere")
        return pseudo[b":authority"]
    if b":protocol" in pseudo and method != b"CONNECT":
        raise MalformedError("protocol without CONNECT")
    if not pseudo.get(b":path") or not pseudo.get(b":scheme"):
        raise MalformedError("no path or scheme")
    return pseudo[b":path"]


def _check(name: bytes, value: bytes) -> None:
    is_name = _is_name if len(name) <= _MAX_NAME else _is_name.__wrapped__
    if not is_name(name) or _BAD_VALUE.search(value) or (name == b"te" and value.lower() != b"trailers"):
        raise MalformedError("field")


@lru_cache(maxsize=1024)
def _is_name(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _OF_CONNECTION
