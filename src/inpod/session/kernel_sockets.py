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
from inpod.tunnel import sock_diag
from inpod.tunnel.sock_diag import MAPPED

_ENDS = struct.Struct(">BxxxHH16s16s")
"""Family; own port, peer's; own address, peer's (`sock_diag.HEAD`, `IDENTITY`)."""

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
    return {ends_in(message) for message in sock_diag.dump(sum(1 << state for state in states))}


def ends_in(message: bytes) -> Ends:
    """Return where the socket of a `struct inet_diag_msg` stands."""
    family, port, peer_port, ip, peer_ip = _ENDS.unpack_from(message)
    return Ends((_ip(family, ip), port), (_ip(family, peer_ip), peer_port))


def _ip(family: int, field: bytes) -> bytes:
    return MAPPED + field[:4] if family == socket.AF_INET else field


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
