"""Which TCP connections to mirrored ports the kernel has."""

import socket
import struct
from collections.abc import Iterable

from inpod.tunnel import sock_diag

_ENDS = struct.Struct("=Bxxx2s2s16s16s")
"""Family; ports and addresses, own first (`sock_diag.HEAD`, `IDENTITY`)."""

_PEER_MAY_SPEAK = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 12
"""Established, SYN received (both kinds), and those that only our end has finished (include/net/tcp_states.h)."""


def speaking(ports: Iterable[int]) -> set[bytes]:
    """Return the connections to our `ports` whose peer has not finished yet, each as a `Segment.flow`.

    Raises:
        OSError: The kernel does not tell.
    """
    return {_flow(body) for port in ports for body in sock_diag.dump(_PEER_MAY_SPEAK, own_port=port)}


def _flow(body: bytes) -> bytes:
    # As bytes: there may be thousands.
    family, own_port, peer_port, own, peer = _ENDS.unpack_from(body)
    if family == socket.AF_INET:
        own, peer = own[:4], peer[:4]
    elif own.startswith(sock_diag.MAPPED):
        own, peer = own[12:], peer[12:]
    return bytes(peer + own + peer_port + own_port)
