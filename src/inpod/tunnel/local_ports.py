"""The local ports of connections that we make ourselves, many of them to one place, in turn.

The side that ends a connection first keeps its port for a minute (TIME_WAIT), and that is us when the far client is done first.
The kernel lets a *named* port go sooner: it can be bound again with SO_REUSEADDR, and connected with TCP's timestamps. And
among thousands of such ports bind(2) to port 0 takes milliseconds to find one. So we name it. Only each second port is ours, as
with port 0: the kernel skips bound ones when other processes connect, and they begin with the others. And as with port 0,
those that the administrator reserved for services are left alone.
"""

import contextlib
import errno
import os
import random
import socket
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

ATTEMPTS = 64
"""Ports tried for a connection: one may be another process's, or of a connection that goes on."""

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
"""As "8080,9000-9010" (Documentation/networking/ip-sysctl.rst of Linux)."""


class LocalPorts:
    """Whose turn it is."""

    def __init__(self) -> None:
        self._next = random.randrange(1 << 16)  # noqa: S311  # not to begin where another process does

    def name(self, sock: socket.socket, is_taken: Callable[[int], bool]) -> int:
        """Return a port for `sock` to bind that is not taken, and have the socket bind it though a connection ended there.

        Raises:
            OSError: EADDRNOTAVAIL: all are taken.
        """
        ports = _local_ports()
        for _ in range(len(ports)):
            port = ports[self._next % len(ports)]
            self._next += 1
            if not is_taken(port):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                return port
        raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


@cache
def _local_ports() -> Sequence[int]:
    try:
        low, high = map(int, _RANGE.read_text().split())
    except (OSError, ValueError):
        low, high = 32768, 60999
    ports = range(low + 1, high + 1, 2)
    reserved = _reserved_ports()
    return [port for port in ports if port not in reserved] if reserved else ports


def _reserved_ports() -> set[int]:
    reserved: set[int] = set()
    with contextlib.suppress(OSError, ValueError):
        for part in _RESERVED.read_text().split(","):
            low, _, high = part.partition("-")
            reserved.update(range(int(low), int(high or low) + 1))
    return reserved
