"""The program's listeners: where each really listens, and whether it still does.

Nothing tells when a socket is closed, so the kernel's own list is looked at: by netlink (sock_diag(7)), which names the
listeners only, else in /proc/net/tcp (proc(5)), where they stand among all connections.
"""

import ipaddress
import socket
import struct
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from inpod.protocol.layer import Addr

LISTEN = 10
"""State of a listening socket (linux/tcp_states.h)."""

_MAPPED = bytes(10) + b"\xff\xff"
_ANY = (bytes(16), _MAPPED + bytes(4))
LOOPBACK = _MAPPED + b"\x7f\0\0\1"
LOOPBACK6 = bytes(15) + b"\1"

ANSWER_LIMIT_S = 2.0
RECEIVE_BYTES = 1 << 16

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_QUESTION = struct.Struct("=BBBxI48x")  # family, protocol, extensions, states; any socket
_ANSWER = struct.Struct(">BxxxHH16s16s")  # family; own port, far port; own address, far address

Place = tuple[bytes, int]
"""IP address as in `Addr.ip`, and port."""


class Listener(NamedTuple):
    """Attributes:
    wanted: As the program sees it.
    real: Where it listens on this machine.
    """

    wanted: Addr
    real: Addr

    @property
    def place(self) -> Place:
        """Where it really listens."""
        return self.real.ip, self.real.port

    def takes(self, ip: bytes) -> bool:
        """Return whether it takes connections of that version of IP: a dual-stack socket takes both."""
        if is_v4(ip):
            # A v6 socket that the layer bound to a mapped address was meant for both.
            return is_v4(self.real.ip) or self.real.ip == _ANY[0]
        return self.wanted.family == 6

    def address_for(self, to: Addr) -> Addr:
        """Return the loopback address that reaches it from this machine, for a socket that wants to go to `to`."""
        if self.real.ip in _ANY:
            ip = LOOPBACK if is_v4(to.ip) or is_v4(self.real.ip) else LOOPBACK6
            return Addr(to.family, self.real.port, ip)
        return Addr(to.family, self.real.port, self.real.ip)


def choose(listeners: Iterable[Listener], ip: bytes) -> Listener | None:
    """Return the listener that the kernel would choose for that version of IP: the closest."""
    fitting = [listener for listener in listeners if listener.takes(ip)]
    return min(fitting, key=lambda found: (found.wanted.family == 6) == is_v4(ip), default=None)


def is_v4(ip: bytes) -> bool:
    """Return whether an address in IPv6 form is one of IPv4."""
    return ip.startswith(_MAPPED)


def is_any(ip: bytes) -> bool:
    """Return whether it is 0.0.0.0 or ::."""
    return ip in _ANY


def is_loopback(ip: bytes) -> bool:
    """Return whether an address stays in its machine; that of "any" does, for connect(2)."""
    found = ipaddress.IPv6Address(ip)
    return (found.ipv4_mapped or found).is_loopback or is_any(ip)


def listening() -> set[Place]:
    """Return where somebody in this network namespace listens."""
    return {own for own, _ in tcp_sockets([LISTEN])}


def tcp_sockets(states: Collection[int]) -> set[tuple[Place, Place]]:
    """Return own and far address of the TCP sockets of this network namespace that are in one of `states`."""
    try:
        return _asked(states)
    except OSError:
        return _read(states)


def _asked(states: Collection[int]) -> set[tuple[Place, Place]]:
    """Return the kernel's answer.

    Raises:
        OSError: It has no sock_diag.
    """
    found: set[tuple[Place, Place]] = set()
    for message in ask_kernel(socket.IPPROTO_TCP, sum(1 << state for state in states)):
        family, port, far_port, ip, far_ip = _ANSWER.unpack_from(message)
        found.add(((place_ip(family, ip), port), (place_ip(family, far_ip), far_port)))
    return found


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


def place_ip(family: int, ip: bytes) -> bytes:
    """Return the 16 bytes of an address field in a `struct inet_diag_msg` as in `Addr.ip`."""
    return _MAPPED + ip[:4] if family == socket.AF_INET else ip


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


def _read(states: Collection[int]) -> set[tuple[Place, Place]]:
    found: set[tuple[Place, Place]] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/self/net", name).read_bytes().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            _, own, far, state, _ = line.split(None, 4)
            if int(state, 16) in states:
                found.add((parse_place(own), parse_place(far)))
    return found


def parse_place(field: bytes) -> Place:
    """Return the address in a field like "0100007F:1F90": words of four bytes in the machine's order, port."""
    host, _, port = field.partition(b":")
    raw = bytes.fromhex(host.decode())
    if sys.byteorder == "little":
        raw = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return (_MAPPED + raw if len(raw) == 4 else raw), int(port, 16)
