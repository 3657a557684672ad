"""DNS messages as bytes: queries for addresses and names, and their answers (RFC 1035 section 4, RFC 3596); of others, what
they are about. No I/O here.
"""

import ipaddress
import socket
import struct
from enum import IntEnum
from typing import NamedTuple

MAX_NAME_BYTES = 255
"""Of a name as it travels, with the length bytes (RFC 1035 section 2.3.4)."""

MAX_LABEL_BYTES = 63
MAX_ALIASES = 16
"""CNAME records followed in one answer."""

A = 1
CNAME = 5
PTR = 12
AAAA = 28
_IN = 1

_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_RECORD = struct.Struct(">HHIH")
_IS_RESPONSE = 0x8000
_TRUNCATED = 0x0200
_RECURSION_DESIRED = 0x0100
_PRINTABLE = bytes(range(0x21, 0x7F))

Name = tuple[bytes, ...]
"""The labels of a name, in lower case, without the root's empty one."""


class MessageError(Exception):
    """Bytes that are no DNS message, or a name that cannot be asked for."""


class Code(IntEnum):
    """Response codes that are told apart."""

    NO_ERROR = 0
    SERVER_FAILURE = 2
    NAME_ERROR = 3
    NOT_IMPLEMENTED = 4
    REFUSED = 5


class Record(NamedTuple):
    """An address, alias or name of an answer.

    Attributes:
        data: A `Name` for CNAME and PTR, else the address's bytes.
        ttl: Seconds for which it holds.
    """

    name: Name
    kind: int
    data: bytes | Name
    ttl: int


class Response(NamedTuple):
    """What a server said. `records` is empty when `is_truncated`: such an answer may be cut anywhere."""

    query_id: int
    name: Name
    kind: int
    code: int
    is_truncated: bool
    records: list[Record]


class Head(NamedTuple):
    """What any message with one question says first.

    Attributes:
        answers: Number of records.
        end: Where the question's name ends.
    """

    query_id: int
    is_response: bool
    is_truncated: bool
    code: int
    answers: int
    name: Name
    kind: int
    cls: int
    end: int

    def answers_to(self, query: "Head") -> bool:
        """Return whether it has the id and question of `query`, which RFC 5452 section 9.1 demands."""
        asked, said = ((h.query_id, h.name, h.kind, h.cls) for h in (query, self))
        return self.is_response and asked == said


def parse_name(text: bytes) -> Name:
    """Return the labels of a dotted name; a final dot is allowed.

    Raises:
        MessageError: An empty or too long label or name.
    """
    labels = tuple(text.lower().removesuffix(b".").split(b"."))
    if any(not 0 < len(label) <= MAX_LABEL_BYTES for label in labels):
        raise MessageError("a label is empty or too long")
    if sum(len(label) + 1 for label in labels) + 1 > MAX_NAME_BYTES:
        raise MessageError("the name is too long")
    return labels


def name_text(name: Name) -> str:
    """Return `name` with dots, or "" when it holds what no host name may hold."""
    text = b".".join(name)
    is_plain = not text.translate(None, _PRINTABLE) and text.count(b".") == max(0, len(name) - 1)
    return text.decode("ascii") if is_plain else ""


def encode_query(query_id: int, name: Name, kind: int) -> bytes:
    """Return a recursive query for one name and record type."""
    return _HEADER.pack(query_id, _RECURSION_DESIRED, 1, 0, 0, 0) + _encoded(name) + _QUESTION.pack(kind, _IN)


def decode_head(data: bytes) -> Head:
    """Return what a message is about.

    Raises:
        MessageError: Cut short, or without a question, or with several.
    """
    try:
        query_id, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
        if questions != 1:
            raise MessageError("not one question")
        name, end = _read_name(data, _HEADER.size)
        kind, cls = _QUESTION.unpack_from(data, end)
    except (struct.error, IndexError) as error:
        raise MessageError("cut short") from error
    return Head(
        query_id, bool(flags & _IS_RESPONSE), bool(flags & _TRUNCATED), flags & 0xF, answers, name, kind, cls, end
    )


def renamed(query: bytes, name: Name) -> bytes:
    """Return the same query about another name.

    Raises:
        MessageError: It has not one question.
    """
    return query[: _HEADER.size] + _encoded(name) + query[decode_head(query).end :]


def decode_response(data: bytes) -> Response:
    """Return the address and alias records of an answer to a query with one question.

    Raises:
        MessageError: Not such an answer, cut short, or with names that are too long or point forwards.
    """
    try:
        query_id, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
        if not flags & _IS_RESPONSE or questions != 1:
            raise MessageError("no answer to one question")
        name, at = _read_name(data, _HEADER.size)
        kind, cls = _QUESTION.unpack_from(data, at)
        if cls != _IN:
            raise MessageError("not of the Internet class")
        is_truncated = bool(flags & _TRUNCATED)
        records = [] if is_truncated else _read_records(data, at + _QUESTION.size, answers)
    except (struct.error, IndexError) as error:
        raise MessageError("cut short") from error
    return Response(query_id, name, kind, flags & 0xF, is_truncated, records)


def follow(response: Response) -> tuple[Name, list[str]]:
    """Return the canonical name, reached by the answer's aliases, and what it has, in order: addresses or names as text."""
    aliases = {r.name: r.data for r in reversed(response.records) if r.kind == CNAME and isinstance(r.data, tuple)}
    name = response.name
    for _ in range(MAX_ALIASES):
        if (further := aliases.get(name)) is None:
            break
        name = further
    found = [r for r in response.records if r.kind == response.kind and r.name == name]
    return name, [_address_text(r.data) if isinstance(r.data, bytes) else name_text(r.data) for r in found]


def _address_text(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def reverse_name(ip: str) -> Name:
    """Return the name that has an address's names (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    return tuple(label.encode() for label in ipaddress.ip_address(ip).reverse_pointer.split("."))


def _encoded(name: Name) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in name) + b"\0"


def _read_records(data: bytes, at: int, count: int) -> list[Record]:
    records: list[Record] = []
    for _ in range(count):
        name, at = _read_name(data, at)
        kind, cls, ttl, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if at + length > len(data):
            raise MessageError("a record is cut short")
        if cls == _IN and kind in (CNAME, PTR):
            records.append(Record(name, kind, _read_name(data, at)[0], ttl))
        elif cls == _IN and (kind, length) in ((A, 4), (AAAA, 16)):
            records.append(Record(name, kind, data[at : at + length], ttl))
        at += length
    return records


def _read_name(data: bytes, at: int) -> tuple[Name, int]:
    """Return the name at `at` and the position behind it.

    A pointer must lead to before the name it stands in (RFC 1035 section 4.1.4: "a prior occurrence"), so that no chain
    of pointers is endless.

    Raises:
        IndexError: The data ends within the name.
    """
    labels: list[bytes] = []
    size = 1
    start = at
    end: int | None = None
    while True:
        length = data[at]
        if length & 0xC0 == 0xC0:
            pointer = (length & 0x3F) << 8 | data[at + 1]
            if end is None:
                end = at + 2
            if pointer >= start:
                raise MessageError("a name points forwards")
            start = at = pointer
            continue
        if length & 0xC0:
            raise MessageError("unknown kind of label")
        at += 1
        if length == 0:
            return tuple(labels), at if end is None else end
        label = data[at : at + length]
        size += length + 1
        if len(label) < length or size > MAX_NAME_BYTES:
            raise MessageError("a name is too long or cut short")
        labels.append(label.lower())
        at += length
