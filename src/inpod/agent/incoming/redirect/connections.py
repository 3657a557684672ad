"""The connections of this network namespace, TCP unless said otherwise, and their end; who gets a datagram."""

import errno
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from inpod.agent.incoming.redirect.netlink import parse_attributes
from inpod.protocol.agent import Address
from inpod.tunnel import sock_diag
from inpod.tunnel.sock_diag import HEAD, IDENTITY, MAPPED, REST, REST_AT

ESTABLISHED = 1 << 1
"""States are bits (include/net/tcp_states.h)."""
BEGINNING = 1 << 3 | 1 << 12
"""SYN received."""
OPEN = ESTABLISHED | BEGINNING | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11
"""All in which data may still come or be on its way."""

_AT_A_TIME = 64
"""Messages sent at once: their answers must fit the socket's buffer."""

_UNLIKELY_PORT = 1
"""From which no peer sends (tcpmux)."""

_MARK = 15
"""INET_DIAG_MARK"""


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
    found: list[Connection] = []
    for body in sock_diag.dump(states, protocol, own_port=own_port, peer_port=peer_port):
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
    packed = socket.inet_pton(family, ip)
    # Of UDP, and nowhere else, the kernel has the peer first.
    wanted = sock_diag.identity(_UNLIKELY_PORT, port, packed, packed)
    try:
        with sock_diag.open_socket() as sock:
            return sock_diag.inode(sock_diag.find(sock, family, socket.IPPROTO_UDP, wanted))
    except FileNotFoundError:
        return 0


def destroy(found: Sequence[Connection]) -> int:
    """Reset connections, for both their ends; return how many were still there.

    Raises:
        OSError: EPERM without CAP_NET_ADMIN; EOPNOTSUPP when the kernel was built without it.
    """
    ended = 0
    with sock_diag.open_socket() as sock:
        for at in range(0, len(found), _AT_A_TIME):
            some = found[at : at + _AT_A_TIME]
            sock.sendall(b"".join(sock_diag.ask_to_destroy(each.family, each.identity) for each in some))
            for code in sock_diag.codes(sock, len(some)):
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


def _parse(body: bytes) -> Connection:
    family, *_ = HEAD.unpack_from(body)
    own_port, peer_port, own, peer, _, _ = IDENTITY.unpack_from(body, HEAD.size)
    mark = parse_attributes(body[REST_AT + REST.size :]).get(_MARK, bytes(4))
    return Connection(
        own=_address(family, own, own_port),
        peer=_address(family, peer, peer_port),
        inode=sock_diag.inode(body),
        mark=int.from_bytes(mark, sys.byteorder),
        family=family,
        identity=body[HEAD.size : REST_AT],
    )


def _address(family: int, packed: bytes, port: int) -> Address:
    if family == socket.AF_INET:
        return Address(socket.inet_ntop(socket.AF_INET, packed[:4]), port)
    if packed.startswith(MAPPED):
        return Address(socket.inet_ntop(socket.AF_INET, packed[12:]), port)
    return Address(socket.inet_ntop(socket.AF_INET6, packed), port)
