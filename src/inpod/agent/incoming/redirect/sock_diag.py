"""The connections of this network namespace, TCP unless said otherwise, and their end, by netlink (sock_diag(7))."""

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from inpod.agent.incoming.redirect.netlink import parse_attributes
from inpod.protocol.agent import Address

ANSWER_LIMIT_S = 2.0
RECEIVE_BYTES = 1 << 16

ESTABLISHED = 1 << 1
"""States are bits (include/net/tcp_states.h)."""
BEGINNING = 1 << 3 | 1 << 12
"""SYN received."""
OPEN = ESTABLISHED | BEGINNING | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11
"""All in which data may still come or be on its way."""

NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _DESTROY = 20, 21
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3

_AT_A_TIME = 64
"""Messages sent at once: their answers must fit the socket's buffer."""

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_QUESTION = struct.Struct("=BBBxI")  # family, protocol, extensions, states; the socket's identity follows
_ANSWER = struct.Struct("=BBBB")  # family, state, timer, retransmits; the socket's identity follows
_IDENTITY = struct.Struct(">HH16s16s4s8s")  # ports and addresses, own first; interface, cookie
_CODE = struct.Struct("=i")
_REST = struct.Struct("=IIIII")  # expires, receive queue, send queue, user, inode

_ANY_STATE = 0xFFFF_FFFF
_UNLIKELY_PORT = 1
"""From which no peer sends (tcpmux)."""

_MARK = 15
"""INET_DIAG_MARK"""

_MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv6 socket writes IPv4 addresses (RFC 4291)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A socket of a connection.

    Attributes:
        own, peer: IPv4-mapped addresses as IPv4.
        inode: 0 while nobody has accepted it.
        mark: SO_MARK; 0 too where we lack the right to see it (CAP_NET_ADMIN).
        family, identity: For `destroy`.
    """

    own: Address
    peer: Address
    inode: int
    mark: int
    family: int
    identity: bytes


def connections(
    states: int, *, own_port: int = 0, peer_port: int = 0, protocol: int = socket.IPPROTO_TCP
) -> list[Connection]:
    """Return the connections in `states` whose ports are these; 0: any.

    Raises:
        OSError: The kernel does not tell.
    """
    identity = _IDENTITY.pack(own_port, peer_port, bytes(16), bytes(16), bytes(4), b"\xff" * 8)
    found: list[Connection] = []
    with _open() as sock:
        for family in (socket.AF_INET, socket.AF_INET6):
            question = _QUESTION.pack(family, protocol, 0, states)
            sock.sendall(_message(_BY_FAMILY, _DUMP, question + identity))
            for body in _dump(sock):
                connection = _parse(body)
                # What the kernel filters by is said to be a hint.
                if own_port in (0, connection.own.port) and peer_port in (0, connection.peer.port):
                    found.append(connection)
    return found


def datagram_taker(ip: str, port: int) -> int:
    """Return the inode of the socket that gets a datagram to `port` of `ip` from a peer it is not connected to; 0: none.

    The kernel looks for it as it does for a datagram, what BPF sk_lookup says included (net/ipv4/udp_diag.c, Linux 5.9).

    Raises:
        OSError: The kernel does not tell.
    """
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as known:
        # The errno for no socket is that for no sock_diag of UDP, too: of a socket that is there it must know.
        known.bind((ip, 0))
        if _taker(family, ip, known.getsockname()[1]) != os.fstat(known.fileno()).st_ino:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return _taker(family, ip, port)


def _taker(family: int, ip: str, port: int) -> int:
    packed = socket.inet_pton(family, ip).ljust(16, b"\0")
    # Here, and nowhere else, the kernel has the peer first.
    identity = _IDENTITY.pack(_UNLIKELY_PORT, port, packed, packed, bytes(4), b"\xff" * 8)
    with _open() as sock:
        question = _QUESTION.pack(family, socket.IPPROTO_UDP, 0, _ANY_STATE)
        sock.sendall(_message(_BY_FAMILY, 0, question + identity))
        for kind, body in _messages(sock.recv(RECEIVE_BYTES)):
            if kind != _ERROR:
                return _parse(body).inode
            if (code := -_CODE.unpack_from(body)[0]) != errno.ENOENT:
                raise OSError(code, os.strerror(code))
    return 0


def destroy(found: Sequence[Connection]) -> int:
    """Reset connections, for both their ends; return how many were still there.

    Raises:
        OSError: EPERM without CAP_NET_ADMIN; EOPNOTSUPP when the kernel was built without it.
    """
    ended = 0
    with _open() as sock:
        for at in range(0, len(found), _AT_A_TIME):
            some = found[at : at + _AT_A_TIME]
            sock.sendall(b"".join(map(_ask_to_destroy, some)))
            for code in _codes(sock, len(some)):
                if code not in (0, errno.ENOENT):
                    raise OSError(code, os.strerror(code))
                ended += code == 0
    return ended


def own_inodes() -> set[int]:
    """Return the inodes of this process's sockets, as `Connection.inode` has them."""
    found: set[int] = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue  # the folder's own
        if name.startswith("socket:["):
            found.add(int(name[8:-1]))
    return found


def _open() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
    sock.settimeout(ANSWER_LIMIT_S)
    return sock


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | flags, 1, 0) + body


def _ask_to_destroy(connection: Connection) -> bytes:
    question = _QUESTION.pack(connection.family, socket.IPPROTO_TCP, 0, _ANY_STATE)
    return _message(_DESTROY, _ACK, question + connection.identity)


def _codes(sock: socket.socket, count: int) -> Iterator[int]:
    """Yield the errno that each of `count` messages is answered with; 0 when it worked."""
    while count > 0:
        for kind, body in _messages(sock.recv(RECEIVE_BYTES)):
            if kind == _ERROR:
                count -= 1
                yield -_CODE.unpack_from(body)[0]


def _dump(sock: socket.socket) -> Iterator[bytes]:
    """Yield what follows the header of each message, up to the end of a dump."""
    while True:
        for kind, body in _messages(sock.recv(RECEIVE_BYTES)):
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


def _parse(body: bytes) -> Connection:
    family, *_ = _ANSWER.unpack_from(body)
    own_port, peer_port, own, peer, _, _ = _IDENTITY.unpack_from(body, _ANSWER.size)
    identity = body[_ANSWER.size : _ANSWER.size + _IDENTITY.size]
    at = _ANSWER.size + _IDENTITY.size
    *_, inode = _REST.unpack_from(body, at)
    mark = parse_attributes(body[at + _REST.size :]).get(_MARK, bytes(4))
    return Connection(
        own=_address(family, own, own_port),
        peer=_address(family, peer, peer_port),
        inode=inode,
        mark=int.from_bytes(mark, sys.byteorder),
        family=family,
        identity=identity,
    )


def _address(family: int, packed: bytes, port: int) -> Address:
    if family == socket.AF_INET:
        return Address(socket.inet_ntop(socket.AF_INET, packed[:4]), port)
    if packed.startswith(_MAPPED):
        return Address(socket.inet_ntop(socket.AF_INET, packed[12:]), port)
    return Address(socket.inet_ntop(socket.AF_INET6, packed), port)
