"""Which loopback address a socket of the program can be connected to."""

import ipaddress
import socket

HOST, HOST6 = "127.0.0.1", "::1"

ESTABLISHED, SYN_SENT = 1, 2
"""Of `tcp_state` (linux/tcp_states.h)."""


def loopback_of(program: socket.socket) -> str:
    """Return the address: that of IPv6 for the sockets that are only for that."""
    if program.family != socket.AF_INET6:
        return HOST
    bound = ipaddress.IPv6Address(program.getsockname()[0].partition("%")[0])
    is_v6 = program.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) or not (
        bound.is_unspecified or bound.ipv4_mapped
    )
    return HOST6 if is_v6 else HOST


def tcp_state(sock: socket.socket) -> int:
    """Return where a TCP socket stands: TCP_INFO's first byte.

    Raises:
        OSError: It is closed.
    """
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def is_established(sock: socket.socket) -> bool:
    """Return whether a connect is done. On loopback all three packets have passed before connect(2) returns."""
    return tcp_state(sock) == ESTABLISHED


def plain(address: tuple[str, int]) -> tuple[str, int]:
    """Return host and port of a socket's address, a mapped IPv4 address as IPv4."""
    return address[0].removeprefix("::ffff:"), address[1]
