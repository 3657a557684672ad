"""Which TCP connections this network namespace has, asked of the kernel by netlink (sock_diag(7)); needs no right."""

import socket
import struct
from collections.abc import Iterable

ANSWER_LIMIT_S = 2.0
RECEIVE_BYTES = 1 << 16

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_REQUEST = struct.Struct("=BBBxI2s46x")  # family, protocol, extensions, states; own port, in network order
_MESSAGE = struct.Struct("=BBBB2s2s16s16s")  # family, state, timer, retransmits; ports and addresses, own first

_PEER_MAY_SPEAK = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 12
"""Established, SYN received (both kinds), and those that only our end has finished (include/net/tcp_states.h)."""

_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv6 socket writes IPv4 addresses (RFC 4291)."""


def speaking(ports: Iterable[int]) -> set[bytes]:
    """Return the connections to our `ports` whose peer has not finished yet, each as a `Segment.flow`.

    Raises:
        OSError: The kernel does not tell.
    """
    found: set[bytes] = set()
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(ANSWER_LIMIT_S)
        for port in ports:
            for family in (socket.AF_INET, socket.AF_INET6):
                body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _PEER_MAY_SPEAK, port.to_bytes(2, "big"))
                sock.sendall(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
                is_last = False
                while not is_last:
                    is_last = _parse(sock.recv(RECEIVE_BYTES), found)
    return found


def _parse(data: bytes, found: set[bytes]) -> bool:
    """Add the connections that the netlink messages name; return whether the dump ends there."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if kind == _DONE or length < _HEADER.size:
            return True
        if kind == _ERROR:
            code = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
            raise OSError(code, "sock_diag")
        family, _, _, _, own_port, peer_port, own, peer = _MESSAGE.unpack_from(data, at + _HEADER.size)
        if family == socket.AF_INET:
            own, peer = own[:4], peer[:4]
        elif own.startswith(_MAPPED):
            own, peer = own[12:], peer[12:]
        found.add(peer + own + peer_port + own_port)
        at += (length + 3) & ~3
    return at == 0
