"""Transactions of nf_tables over netlink: messages as bytes, and the socket that sends them.

Sources: linux/netlink.h, linux/netfilter/nfnetlink.h and nf_tables.h. Headers are in the machine's byte order, what is
inside of nf_tables attributes mostly in network order.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ANSWER_LIMIT_S = 2.0
"""The kernel answers within sendmsg(2); another's long transaction may hold it up."""

RECEIVE_BYTES = 1 << 16

INET = 1
"""NFPROTO_INET: IPv4 and IPv6."""

CREATE = 0x400
"""NLM_F_CREATE"""
EXCLUSIVE = 0x200
"""NLM_F_EXCL: fail when it is there."""

_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NETLINK_NETFILTER = 12
_NF_TABLES = 10
_NESTED = 0x8000
_KIND_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_FAMILY = struct.Struct(">BBH")  # struct nfgenmsg: family, version, resource
_ATTRIBUTE = struct.Struct("=HH")  # length with this header, type


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Return an attribute with a string."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Return an attribute with 32 bits in network order."""
    return attribute(kind, struct.pack(">I", value & 0xFFFF_FFFF))


def parse_attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes that follow each other in `data`, by type; the last of a type wins."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _KIND_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3
    return found


@dataclass(frozen=True, slots=True)
class Message:
    """One change or question: an NFT_MSG_* number, flags, and attributes."""

    kind: int
    flags: int
    body: bytes


class NfTables:
    """A netlink socket to nf_tables in this network namespace. Tables that it owns are gone when it closes."""

    def __init__(self) -> None:
        self._sequence = 1
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        try:
            self._sock.settimeout(ANSWER_LIMIT_S)
            self._sock.bind((0, 0))
        except OSError:
            self._sock.close()
            raise

    def close(self) -> None:
        """Close the socket, and with it the tables that it owns."""
        self._sock.close()

    def transact(self, messages: Sequence[Message]) -> None:
        """Make all changes, or none.

        Raises:
            OSError: The errno of the first change that was refused.
        """
        first = self._sequence
        out = [self._pack(_BATCH_BEGIN, _REQUEST, 0, _NF_TABLES)]
        out += [
            self._pack(_NF_TABLES << 8 | message.kind, _REQUEST | message.flags, INET, 0, message.body)
            for message in messages[:-1]
        ]
        last = self._sequence
        kind = _NF_TABLES << 8 | messages[-1].kind
        out.append(self._pack(kind, _REQUEST | _ACK | messages[-1].flags, INET, 0, messages[-1].body))
        out.append(self._pack(_BATCH_END, _REQUEST, 0, _NF_TABLES))
        self._sock.sendall(b"".join(out))
        while True:
            for kind, sequence, body in self._receive():
                # Answers to an earlier transaction are those that nobody waited for after its first error.
                if kind == _ERROR and sequence >= first:
                    _raise_error(body)
                    if sequence == last:
                        return

    def ask(self, message: Message, *, is_dump: bool = False) -> list[bytes]:
        """Return the attributes of each answer.

        Raises:
            OSError: The kernel refuses to tell; ENOENT when there is no such thing.
        """
        first = self._sequence
        flags = _REQUEST | (_DUMP if is_dump else _ACK)
        self._sock.sendall(self._pack(_NF_TABLES << 8 | message.kind, flags, INET, 0, message.body))
        found: list[bytes] = []
        while True:
            for kind, sequence, body in self._receive():
                if sequence < first:
                    continue
                if kind == _ERROR:
                    _raise_error(body)
                    return found
                if kind == _DONE:
                    return found
                found.append(body[_FAMILY.size :])

    def _pack(self, kind: int, flags: int, family: int, resource: int, body: bytes = b"") -> bytes:
        length = _HEADER.size + _FAMILY.size + len(body)
        header = _HEADER.pack(length, kind, flags, self._sequence, 0)
        self._sequence += 1
        return header + _FAMILY.pack(family, 0, resource) + body

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield type, sequence and what follows the header of the messages that come next."""
        data = self._sock.recv(RECEIVE_BYTES)
        at = 0
        while at + _HEADER.size <= len(data):
            length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                return
            yield kind, sequence, data[at + _HEADER.size : at + length]
            at += (length + 3) & ~3


def _raise_error(body: bytes) -> None:
    """Raise what a message of type NLMSG_ERROR says, unless it says 0."""
    code = -struct.unpack_from("=i", body)[0]
    if code:
        raise OSError(code, os.strerror(code))
