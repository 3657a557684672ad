"""Which loopback address a socket of the program can be connected to."""

import ipaddress
import socket

HOST, HOST6 = "127.0.0.1", "::1"


def loopback_of(program: socket.socket) -> str:
    """Return the address: that of IPv6 for the sockets that are only for that."""
    if program.family != socket.AF_INET6:
        return HOST
    bound = ipaddress.IPv6Address(program.getsockname()[0].partition("%")[0])
    is_v6 = program.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) or not (
        bound.is_unspecified or bound.ipv4_mapped
    )
    return HOST6 if is_v6 else HOST


def plain(address: tuple[str, int]) -> tuple[str, int]:
    """Return host and port of a socket's address, a mapped IPv4 address as IPv4."""
    return address[0].removeprefix("::ffff:"), address[1]
