"""What the kernel says of the sockets of this network namespace, asked by netlink (sock_diag(7)). Nobody needs a right to ask.

Its answers begin with a `struct inet_diag_msg` (linux/inet_diag.h): `HEAD`, `IDENTITY`, `REST`; then come attributes.
"""

import os
import socket
import struct
from collections.abc import Iterator

ANY_STATE = 0xFFFF_FFFF
"""States are bits, by their numbers in include/net/tcp_states.h."""

HEAD = struct.Struct("=BBBB")  # family, state, timer, retransmits
IDENTITY = struct.Struct(">HH16s16s4s8s")  # ports and addresses, own first; interface, cookie
REST = struct.Struct("=IIIII")  # expires, receive queue, send queue, user, inode

REST_AT = HEAD.size + IDENTITY.size

MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv6 socket writes an IPv4 address (RFC 4291); of an IPv4 one it has the first four bytes."""

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _DESTROY = 20, 21
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_QUESTION = struct.Struct("=BBBxI")  # family, protocol, extensions, states; an identity follows
_CODE = struct.Struct("=i")

_ANSWER_LIMIT_S = 2.0
_RECEIVE_BYTES = 1 << 16


def identity(own_port: int = 0, peer_port: int = 0, own: bytes = b"", peer: bytes = b"") -> bytes:
    """Return an `IDENTITY` to ask for; what is not given may be any."""
    return IDENTITY.pack(own_port, peer_port, own.ljust(16, b"\0"), peer.ljust(16, b"\0"), bytes(4), b"\xff" * 8)


def dump(states: int, protocol: int = socket.IPPROTO_TCP, *, own_port: int = 0, peer_port: int = 0) -> Iterator[bytes]:
    """Yield the answer for each socket of IP that is in one of `states`.

    Args:
        own_port, peer_port: Only those with these; 0: any. A hint to the kernel, which may say more.

    Raises:
        OSError: The kernel does not tell.
    """
    with open_socket() as sock:
        for family in (socket.AF_INET, socket.AF_INET6):
            question = _QUESTION.pack(family, protocol, 0, states) + identity(own_port, peer_port)
            sock.sendall(_message(_BY_FAMILY, _DUMP, question))
            yield from _bodies(sock)


def find(sock: socket.socket, family: int, protocol: int, wanted: bytes) -> bytes:
    """Return the answer for the one socket that the kernel finds for an `identity`, as it does for a packet.

    Raises:
        OSError: ENOENT: there is none, or the kernel does not tell.
    """
    sock.sendall(_message(_BY_FAMILY, 0, _QUESTION.pack(family, protocol, 0, ANY_STATE) + wanted))
    return next(_bodies(sock))


def inode(answer: bytes) -> int:
    """Return the inode of an answer's socket, as fstat(2) has it; 0 while nobody has accepted it."""
    *_, number = REST.unpack_from(answer, REST_AT)
    return int(number)


def ask_to_destroy(family: int, wanted: bytes) -> bytes:
    """Return the request to end a TCP connection, for both its ends; `codes` has what comes of it."""
    return _message(_DESTROY, _ACK, _QUESTION.pack(family, socket.IPPROTO_TCP, 0, ANY_STATE) + wanted)


def codes(sock: socket.socket, count: int) -> Iterator[int]:
    """Yield the errno that each of `count` requests is answered with; 0 when it worked."""
    while count > 0:
        for kind, body in _messages(sock.recv(_RECEIVE_BYTES)):
            if kind == _ERROR:
                count -= 1
                yield -_CODE.unpack_from(body)[0]


def open_socket() -> socket.socket:
    """Return a socket to ask by.

    Raises:
        OSError: The kernel has no sock_diag.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
    sock.settimeout(_ANSWER_LIMIT_S)
    return sock


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body


def _bodies(sock: socket.socket) -> Iterator[bytes]:
    """Yield what follows the header of each message, up to the end of a dump."""
    while True:
        for kind, body in _messages(sock.recv(_RECEIVE_BYTES)):
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -_CODE.unpack_from(body)[0]
                raise OSError(code, os.strerror(code))
            yield body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and what follows the header of each message in `data`."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += (length + 3) & ~3
