"""Requests of HTTP/2: from the fields of a header block to a head (RFC 9113 section 8). No I/O here.

What one reader could take for another request than the next reader is refused: whoever gets a request must see the one that
was decided on.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Head
from inpod.agent.incoming.http.h2_frames import Http2Error
from inpod.agent.incoming.http.hpack import Block, Decoder, Field, HpackError, TooLargeError, encode

# Section 8.2.1: lower case, none of the bytes that other versions of HTTP give a meaning. The colon of pseudo fields is checked apart.
_NAME = re.compile(rb"[^\x00-\x20A-Z:\x7f-\xff]+")

_OF_CONNECTION = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_SPECIAL = frozenset((b"cookie", b"host", b"expect", b"te"))
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority", b":protocol"))


_MAX_REMEMBERED = 512
_MAX_DIGITS = 18
"""Of a length."""

_MAX_NAME = 64
"""Longest block and name that are remembered."""

_MOST_NAMES = 4096
_known_names: set[bytes] = set()
"""Names without a meaning for us that were found right."""


class MalformedError(Exception):
    """A request that breaks the rules; only its stream ends."""


class Request(NamedTuple):
    """A request's head.

    Attributes:
        expects_continue: The client may wait for "100 Continue" before it sends the body.
        length: Of its body, as it says; None when it does not.
    """

    head: Head
    expects_continue: bool
    length: int | None


def decode_request(decoder: Decoder, block: bytes) -> tuple[Block, Request | None]:
    """Return what a header block says and asks for; None when that is malformed.

    Raises:
        Http2Error: It cannot be read, or says too much: no other block of the connection can be read after it.
    """
    try:
        if not decoder.size and not decoder.limit and len(block) <= _MAX_REMEMBERED:
            return _remembered(block)
        return _decode_request(decoder, block)
    except HpackError as error:
        raise Http2Error(frames.COMPRESSION_ERROR, str(error)) from None
    except TooLargeError:
        raise Http2Error(frames.ENHANCE_YOUR_CALM, "header list too large") from None


def _decode_request(decoder: Decoder, block: bytes) -> tuple[Block, Request | None]:
    decoded = decoder.decode(block)
    try:
        return decoded, read_request(decoded.fields, len(block))
    except MalformedError:
        return decoded, None


@lru_cache(maxsize=256)
def _remembered(block: bytes) -> tuple[Block, Request | None]:
    # Callers say the same again and again, and a block says all by itself once there is no table.
    return _decode_request(Decoder(0), block)


def read_request(fields: tuple[Field, ...], size: int = 0) -> Request:
    """Return what a header block of a client asks for.

    Args:
        size: Of the block, in bytes.

    Raises:
        MalformedError: It breaks the rules.
    """
    pseudo: dict[bytes, bytes] = {}
    headers: list[Field] = []
    special: list[Field] = []
    for field in fields:
        name = field[0]
        if name in _known_names:
            headers.append(field)
        elif name in _PSEUDO:
            if headers or special or name in pseudo:
                raise MalformedError("pseudo field twice, or behind others")
            pseudo[name] = field[1]
        elif name in _SPECIAL:
            special.append(field)
            headers.append(field)
        else:
            _learn(name)
            headers.append(field)
    _check_values(fields)
    length = _declared_length(fields)
    target = _target(pseudo)
    authority = pseudo.get(b":authority")
    expects_continue = _special(headers, special, authority) if special else False
    if authority is not None and not any(name == b"host" for name, _ in special):
        headers.insert(0, (b"host", authority))
    return Request(Head(pseudo[b":method"], target, tuple(headers), size), expects_continue, length)


def without_expectation(block: Block) -> bytes:
    """Return a head's block again without `expect`, for a side that is not to answer it."""
    kept = [number for number, (name, _) in enumerate(block.fields) if name != b"expect"]
    never = tuple(place for place, number in enumerate(kept) if number in block.never)
    return encode(tuple(block.fields[number] for number in kept), never)


def check_trailers(fields: tuple[Field, ...]) -> None:
    """Raise for trailers that could be taken for something else.

    Raises:
        MalformedError: They break the rules.
    """
    for name, _ in fields:
        if name not in _known_names and name not in _SPECIAL:
            _learn(name)
    _check_values(fields)


def _declared_length(fields: tuple[Field, ...]) -> int | None:
    """Return how long a request says that its body is, None when it does not (RFC 9110 section 8.6).

    Raises:
        MalformedError: In a way that may be read in two.
    """
    said = {value for name, value in fields if name == b"content-length"}
    if not said:
        return None
    (value, *others) = said
    if others or not value.isdigit() or len(value) > _MAX_DIGITS:
        raise MalformedError("content-length")
    return int(value)


def _special(headers: list[Field], special: list[Field], authority: bytes | None) -> bool:
    """Settle the headers that mean something to us; return whether "100 Continue" is expected."""
    hosts = {value.lower() for name, value in special if name == b"host"}
    if authority is not None and hosts:
        hosts.add(authority.lower())
    if len(hosts) > 1:
        raise MalformedError("two hosts")
    cookies = [field for field in special if field[0] == b"cookie"]
    if len(cookies) > 1:
        # Section 8.2.3: may be cut in several fields, and means one.
        at = headers.index(cookies[0])
        headers[:] = [field for field in headers if field[0] != b"cookie"]
        headers.insert(at, (b"cookie", b"; ".join(value for _, value in cookies)))
    if any(name == b"te" and value.lower() != b"trailers" for name, value in special):
        raise MalformedError("te")
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in special)


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


def _check_values(fields: tuple[Field, ...]) -> None:
    # All at once: nine searches in C are quicker than a loop.
    lines = b"\n".join([b"", *[value for _, value in fields], b""])
    if (
        lines.count(b"\n") != len(fields) + 1
        or b"\0" in lines
        or b"\r" in lines
        or b"\n " in lines
        or b"\n\t" in lines
        or b" \n" in lines
        or b"\t\n" in lines
    ):
        raise MalformedError("value")


def _learn(name: bytes) -> None:
    """Raise for a name that may not be; remember another one."""
    if _NAME.fullmatch(name) is None or name in _OF_CONNECTION:
        raise MalformedError("name")
    if len(name) <= _MAX_NAME and len(_known_names) < _MOST_NAMES:
        _known_names.add(name)
