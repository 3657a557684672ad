"""Tells which captured connections are not the original's: a mesh's rules lead them to its sidecar.

What arrives from outside for the port is the sidecar's then, often encrypted; the application's own leg comes over
loopback. Both look alike on the wire, so the kernel's table of sockets is asked (sock_diag(7)): a connection that was
diverted is there under the port of another listener.
"""

import socket
import struct

from inpod.agent.incoming.redirect import sock_diag
from inpod.protocol.agent import Address

LOOK_EVERY_S = 1.0
"""How often the whole table is looked through at most, for a connection that it does not have under the port called."""

_LISTEN = 10
_BY_FAMILY, _REQUEST, _ERROR = 20, 0x1, 2
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_QUESTION = struct.Struct("=BBBxI")  # family, protocol, extensions, states; the socket's identity follows
_IDENTITY = struct.Struct(">HH16s16s4s8s")  # ports and addresses, own first; interface, cookie
_ANY_COOKIE = b"\xff" * 8


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
                found = sock_diag.connections(sock_diag.OPEN, peer_port=peer.port)
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
            self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, sock_diag.NETLINK_SOCK_DIAG)
            self._sock.settimeout(sock_diag.ANSWER_LIMIT_S)
        family = socket.AF_INET6 if ":" in peer.ip else socket.AF_INET
        own, far = (socket.inet_pton(family, address.ip) for address in (called, peer))
        question = _QUESTION.pack(family, socket.IPPROTO_TCP, 0, 0xFFFF_FFFF)
        question += _IDENTITY.pack(called.port, peer.port, own, far, bytes(4), _ANY_COOKIE)
        self._sock.sendall(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 1, 0) + question)
        answer = self._sock.recv(sock_diag.RECEIVE_BYTES)
        # Where there is none, the listener is found that would take it.
        return _HEADER.unpack_from(answer)[1] != _ERROR and answer[_HEADER.size + 1] != _LISTEN


def _is_local(peer: Address, called: Address) -> bool:
    """Return whether a connection comes from the pod itself, as the application's leg does."""
    return peer.ip == called.ip or peer.ip == "::1" or peer.ip.startswith("127.")
