"""The IP addresses of this network namespace, asked of the kernel by netlink (rtnetlink(7))."""

import ipaddress
import socket
import struct

ANSWER_LIMIT_S = 2.0

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
