"""The kernel's list of the sockets of this network namespace.

Asked by netlink (sock_diag(7)), which names those only that are wanted, else read in /proc/net (proc(5)).
"""

import socket
import struct
import sys
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from inpod.protocol.layer import Addr

MAPPED = bytes(10) + b"\xff\xff"
"""Begins an address of IPv4 in `Addr.ip`."""

ANSWER_LIMIT_S = 2.0
RECEIVE_BYTES = 1 << 16

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_QUESTION = struct.Struct("=BBBxI48x")  # family, protocol, extensions, states; any socket
_ANSWER = struct.Struct(">BxxxHH16s16s")  # family; own port, peer's; own address, peer's

Place = tuple[bytes, int]
"""IP address as in `Addr.ip`, and port."""


class Ends(NamedTuple):
    """Where a socket stands, and where it is connected to."""

    own: Place
    peer: Place


def place_of(name: tuple[str, int]) -> Place:
    """Return what getsockname(2) or getpeername(2) says, by the first two of what it says."""
    return Addr.of(name[0].partition("%")[0], name[1]).ip, name[1]


def tcp_sockets(states: Collection[int]) -> set[Ends]:
    """Return where the TCP sockets of this network namespace that are in one of `states` stand."""
    try:
        return _asked(states)
    except OSError:
        return _read(states)


def _asked(states: Collection[int]) -> set[Ends]:
    """Return the kernel's answer.

    Raises:
        OSError: It has no sock_diag.
    """
    return {ends_in(message) for message in ask_kernel(socket.IPPROTO_TCP, sum(1 << state for state in states))}


def ask_kernel(protocol: int, states: int) -> list[bytes]:
    """Return a `struct inet_diag_msg` (linux/inet_diag.h) for each socket of IP in this network namespace.

    Args:
        states: A bit for each state that is wanted.

    Raises:
        OSError: The kernel has no sock_diag for that.
    """
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
        sock.settimeout(ANSWER_LIMIT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _QUESTION.pack(family, protocol, 0, states)
            sock.sendall(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + body)
            while _parse(sock.recv(RECEIVE_BYTES), found):
                pass
    return found


def ends_in(message: bytes) -> Ends:
    """Return where the socket of a `struct inet_diag_msg` stands."""
    family, port, peer_port, ip, peer_ip = _ANSWER.unpack_from(message)
    return Ends((_ip(family, ip), port), (_ip(family, peer_ip), peer_port))


def _ip(family: int, field: bytes) -> bytes:
    return MAPPED + field[:4] if family == socket.AF_INET else field


def _parse(data: bytes, found: list[bytes]) -> bool:
    """Add the bodies of netlink messages; return whether more messages follow."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if kind == _DONE:
            return False
        if kind == _ERROR or length < _HEADER.size:
            code = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
            raise OSError(code, "sock_diag")
        found.append(data[at + _HEADER.size : at + length])
        at += (length + 3) & ~3
    return True


def _read(states: Collection[int]) -> set[Ends]:
    found: set[Ends] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/self/net", name).read_bytes().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, own, far, state, _ = line.split(None, 4)
            if int(state, 16) in states:
                found.add(Ends(parse_place(own), parse_place(far)))
    return found


def parse_place(field: bytes) -> Place:
    """Return the address in a field like "0100007F:1F90": words of four bytes in the machine's order, port."""
    host, _, port = field.partition(b":")
    raw = bytes.fromhex(host.decode())
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return (MAPPED + raw if len(raw) == 4 else raw), int(port, 16)
