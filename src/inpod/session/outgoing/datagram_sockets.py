"""The kernel's list of UDP sockets: which are still there, and where they are connected to.

Nothing tells when a program closes a socket.
"""

import socket
from pathlib import Path

from inpod.session.kernel_sockets import Ends, ends_in, parse_place
from inpod.tunnel import sock_diag

_OWN, _PEER, _INODE_FIELD = 1, 2, 9
"""Fields of a line of /proc/net/udp."""


def datagram_sockets() -> dict[int, Ends]:
    """Return the UDP sockets of this network namespace by their inode (fstat(2)).

    Raises:
        OSError: The kernel does not say.
    """
    try:
        return _asked()
    except OSError:
        return _read()


def _asked() -> dict[int, Ends]:
    found: dict[int, Ends] = {}
    for message in sock_diag.dump(sock_diag.ANY_STATE, socket.IPPROTO_UDP):
        found[sock_diag.inode(message)] = ends_in(message)
    return found


def _read() -> dict[int, Ends]:
    found: dict[int, Ends] = {}
    for line in Path("/proc/self/net/udp").read_bytes().splitlines()[1:] + _lines_of_v6():
        fields = line.split()
        found[int(fields[_INODE_FIELD])] = Ends(parse_place(fields[_OWN]), parse_place(fields[_PEER]))
    return found


def _lines_of_v6() -> list[bytes]:
    try:
        return Path("/proc/self/net/udp6").read_bytes().splitlines()[1:]
    except OSError:
        # A kernel without IPv6.
        return []
