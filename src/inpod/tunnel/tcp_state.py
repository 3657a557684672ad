"""Where a TCP socket stands, as tcp(7) tells."""

import socket

ESTABLISHED, SYN_SENT = 1, 2
"""Of `tcp_state` (linux/tcp_states.h)."""


def tcp_state(sock: socket.socket) -> int:
    """Return where it stands: TCP_INFO's first byte.

    Raises:
        OSError: It is closed.
    """
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def is_established(sock: socket.socket) -> bool:
    """Return whether a connect is done. Within one machine it is decided before connect(2) returns."""
    return tcp_state(sock) == ESTABLISHED
