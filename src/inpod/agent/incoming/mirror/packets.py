"""Reads IP packets that carry TCP. They come from anywhere, so nothing in them is believed. No I/O here."""

import ipaddress
import struct
from mmap import mmap
from typing import NamedTuple

from inpod.protocol.agent import Address

MAX_EXTENSION_HEADERS = 8
"""Of IPv6; a packet with more is left out."""

_TCP = 6
_IPV6_SKIPPED = frozenset({0, 43, 60})
"""Hop-by-hop options, routing, destination options. Fragments are left out: TCP avoids them."""

_IPV4_BYTES = 20
_IPV6_BYTES = 40
_TCP_BYTES = 20
_LEAST_OFFSET = _TCP_BYTES // 4 << 4
_TCP_HEADER = struct.Struct(">4xI4xBB")  # sequence, data offset, flags

_PLAIN = struct.Struct(">BxH2xHxB2x12sI4xBB")
"""Both headers of an IPv4 packet without options: version, total, fragment, protocol, flow, sequence, data offset, flags."""
_PLAIN_VERSION = 0x45
_FRAGMENT = 0x1FFF


class Flag:
    """Of TCP. No Enum: each packet is looked at, and Python takes a microsecond for an enum's bits."""

    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16


class Segment(NamedTuple):
    """One TCP segment.

    Attributes:
        flow: Who talks to whom, one way: source and destination address, source and destination port, in network order.
        seq: Sequence number of the first byte, or of SYN.
        flags: See `Flag`.
    """

    flow: bytes
    seq: int
    flags: int
    payload: bytes


def parse(data: bytes | mmap, start: int, length: int) -> Segment | None:
    """Return the segment in the IP packet `data[start:start + length]`; None when there is no whole header of one.

    What a link layer added behind the packet is cut off. A packet whose end was not captured gives what is there.
    """
    end = start + length
    if length < _IPV4_BYTES + _TCP_BYTES:
        return None
    first, total, fragment, protocol, flow, seq, offset, flags = _PLAIN.unpack_from(data, start)
    if first == _PLAIN_VERSION and protocol == _TCP and not fragment & _FRAGMENT:
        # The short way for most.
        if start + total < end and total:
            end = start + total
        payload_at = start + _IPV4_BYTES + (offset >> 4) * 4
        if offset < _LEAST_OFFSET or payload_at > end:
            return None
        return Segment(flow, seq, flags, data[payload_at:end])
    version = first >> 4
    if version == 4:
        addresses, address_bytes = start + 12, 8
        at = start + (data[start] & 15) * 4
        # A later fragment has no TCP header.
        if data[start + 9] != _TCP or at < start + _IPV4_BYTES or data[start + 6] & 0x1F or data[start + 7]:
            return None
        total = data[start + 2] << 8 | data[start + 3]
    elif version == 6 and length >= _IPV6_BYTES + _TCP_BYTES:
        addresses, address_bytes = start + 8, 32
        at = start + _IPV6_BYTES
        if data[start + 6] != _TCP:
            at = _skip_extensions(data, data[start + 6], at, end)
        total = data[start + 4] << 8 | data[start + 5]
        total = total and total + _IPV6_BYTES
    else:
        return None
    # 0 stands for more than 64 KiB, as segmentation offload makes them (BIG TCP).
    if total and start + total < end:
        end = start + total
    if at + _TCP_BYTES > end:
        return None
    seq, offset, flags = _TCP_HEADER.unpack_from(data, at)
    payload_at = at + (offset >> 4) * 4
    if payload_at < at + _TCP_BYTES or payload_at > end:
        return None
    # Options may stand between the addresses and the ports.
    flow = data[addresses : addresses + address_bytes] + data[at : at + 4]
    return Segment(flow, seq, flags, data[payload_at:end])


def endpoints(flow: bytes) -> tuple[Address, Address]:
    """Return source and destination of a `Segment.flow`."""
    size = (len(flow) - 4) // 2
    ports = struct.unpack_from(">HH", flow, 2 * size)
    source, destination = (str(ipaddress.ip_address(flow[i : i + size])) for i in (0, size))
    return Address(source, ports[0]), Address(destination, ports[1])


def _skip_extensions(data: bytes | mmap, header: int, at: int, end: int) -> int:
    """Return where the TCP header begins; `end` when there is none."""
    for _ in range(MAX_EXTENSION_HEADERS + 1):
        if header == _TCP:
            return at
        if header not in _IPV6_SKIPPED or at + 8 > end:
            return end
        header, at = data[at], at + 8 * (data[at + 1] + 1)
    return end
