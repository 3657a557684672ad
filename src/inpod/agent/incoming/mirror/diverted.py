"""Tells which captured connections are not the original's: a mesh's rules lead them to its sidecar.

What arrives from outside for the port is the sidecar's then, often encrypted; the application's own leg comes over
loopback. Both look alike on the wire, so the kernel's table of sockets is asked (sock_diag(7)): a connection that was
diverted is there under the port of another listener.
"""

import socket

from inpod.agent.incoming.redirect.connections import OPEN, connections
from inpod.protocol.agent import Address
from inpod.tunnel import sock_diag

LOOK_EVERY_S = 1.0
"""How often the whole table is looked through at most, for a connection that it does not have under the port called."""

_LISTEN = 10


class Diverted:
    """Decides for each connection that begins."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._ports: set[int] = set()
        self._looked = 0.0

    def is_elsewhere(self, peer: Address, called: Address, now: float) -> bool:
        """Return whether the connection is another listener's than that of the port called.

        One that is in the table no more is taken for the original's, unless others of its kind were diverted lately.
        """
        try:
            if self._is_there(peer, called):
                if not _is_local(peer, called):
                    self._ports.discard(called.port)
                return False
            if _is_local(peer, called):
                return False
            if called.port not in self._ports and now - self._looked > LOOK_EVERY_S:
                self._looked = now
                found = connections(OPEN, peer_port=peer.port)
                if any(each.peer == peer and each.own.port != called.port for each in found):
                    self._ports.add(called.port)
        except OSError:
            return False  # a kernel without sock_diag
        return called.port in self._ports

    def close(self) -> None:
        """Ask no more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _is_there(self, peer: Address, called: Address) -> bool:
        """Return whether the kernel has the connection, or remembers it (TIME_WAIT)."""
        if self._sock is None:
            self._sock = sock_diag.open_socket()
        family = socket.AF_INET6 if ":" in peer.ip else socket.AF_INET
        own, far = (socket.inet_pton(family, address.ip) for address in (called, peer))
        try:
            wanted = sock_diag.identity(called.port, peer.port, own, far)
            _, state, *_ = sock_diag.HEAD.unpack_from(sock_diag.find(self._sock, family, socket.IPPROTO_TCP, wanted))
        except FileNotFoundError:
            return False
        # Where there is none, the listener is found that would take it.
        return bool(state != _LISTEN)


def _is_local(peer: Address, called: Address) -> bool:
    """Return whether a connection comes from the pod itself, as the application's leg does."""
    return peer.ip == called.ip or peer.ip == "::1" or peer.ip.startswith("127.")
