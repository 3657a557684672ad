"""The program's listeners: where each really listens, and whether it still does.

Nothing tells when a socket is closed, so the kernel's own list is looked at.
"""

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from inpod.protocol.layer import Addr
from inpod.session.kernel_sockets import Place, tcp_sockets
from inpod.tunnel.sock_diag import MAPPED

LISTEN = 10
"""State of a listening socket (linux/tcp_states.h)."""

_ANY = (bytes(16), MAPPED + bytes(4))
LOOPBACK = MAPPED + b"\x7f\0\0\1"
LOOPBACK6 = bytes(15) + b"\1"


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
    return ip.startswith(MAPPED)


def is_any(ip: bytes) -> bool:
    """Return whether it is 0.0.0.0 or ::."""
    return ip in _ANY


def is_loopback(ip: bytes) -> bool:
    """Return whether an address stays in its machine; that of "any" does, for connect(2)."""
    found = ipaddress.IPv6Address(ip)
    return (found.ipv4_mapped or found).is_loopback or is_any(ip)


def listening() -> set[Place]:
    """Return where somebody in this network namespace listens."""
    return {ends.own for ends in tcp_sockets([LISTEN])}
