"""The IP addresses of this network namespace, asked of the kernel by netlink (rtnetlink(7))."""

import ipaddress
import socket
import struct
from collections.abc import Collection

ANSWER_LIMIT_S = 2.0

OWN_FOR_S = 10.0
"""How long an address is remembered as this host's own, or not."""

_MAX_ADDRESSES = 1024

_RTM_NEWADDR = 20
_RTM_GETADDR = 22
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_IFA_ADDRESS = 1
_IFA_LOCAL = 2

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port id
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")  # length, type


def own_addresses() -> list[str]:
    """Return the addresses in text form, loopback left out; empty when the kernel does not tell."""
    request = _HEADER.pack(_HEADER.size + _IFADDRMSG.size, _RTM_GETADDR, _NLM_F_REQUEST_DUMP, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
            sock.settimeout(ANSWER_LIMIT_S)
            sock.sendall(request + _IFADDRMSG.pack(0, 0, 0, 0, 0))
            found: list[str] = []
            while True:
                addresses, is_last = parse_addresses(sock.recv(1 << 16))
                found += addresses
                if is_last:
                    return found
    except OSError:
        return []


def parse_addresses(data: bytes) -> tuple[list[str], bool]:
    """Return the addresses that the netlink messages in `data` name, and whether the dump ends there."""
    found: list[str] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < _HEADER.size:
            return found, True
        if kind == _RTM_NEWADDR:
            body = data[at + _HEADER.size + _IFADDRMSG.size : at + length]
            attributes = _attributes(body)
            # On point-to-point links IFA_ADDRESS is the other end.
            raw = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
            if len(raw) in (4, 16) and not (address := ipaddress.ip_address(raw)).is_loopback:
                found.append(str(address))
        at += _aligned(length)
    return found, at == 0


def _attributes(body: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind] = body[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def _aligned(length: int) -> int:
    return (length + 3) & ~3


class OwnAddresses:
    """Knows which addresses are this host's own; the kernel is asked.

    A packet for this host's link-layer address may be on its way to another: a node forwards what its pods receive.

    Args:
        only: The only ones that count; empty: all.
    """

    def __init__(self, only: Collection[str] = ()) -> None:
        self._only = only
        self._known: dict[str, tuple[bool, float]] = {}

    def has(self, ip: str, now: float) -> bool:
        """Return whether `ip` is one."""
        if self._only:
            return ip in self._only
        is_own, until = self._known.get(ip, (False, now))
        if until <= now:
            if len(self._known) >= _MAX_ADDRESSES:
                self._known.clear()
            is_own = _is_bindable(ip)
            self._known[ip] = is_own, now + OWN_FOR_S
        return is_own


def _is_bindable(ip: str) -> bool:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    if family == socket.AF_INET6 and ip.startswith("fe80"):
        # Bound only with a device, and never forwarded.
        return True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((ip, 0))
    except OSError:
        return False
    return True
