"""Reading packets: what is there, and nothing of what is not."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.mirror.packets import Segment, endpoints, parse
from inpod.protocol.agent import Address

ports = st.integers(0, 0xFFFF)
words = st.integers(0, 0xFFFF_FFFF)


def tcp(source: int, destination: int, seq: int, flags: int, payload: bytes, options: bytes = b"") -> bytes:
    offset = 5 + len(options) // 4
    return struct.pack(">HHIIBBHHH", source, destination, seq, 1, offset << 4, flags, 0, 0, 0) + options + payload


def ipv4(source: bytes, destination: bytes, body: bytes, *, options: bytes = b"", total: int | None = None) -> bytes:
    size = 20 + len(options) + len(body) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, size, 0, 0x4000, 64, 6, 0)
    return head + source + destination + options + body


def ipv6(source: bytes, destination: bytes, body: bytes, *, following: int = 6, size: int | None = None) -> bytes:
    return (
        struct.pack(">IHBB", 6 << 28, len(body) if size is None else size, following, 64) + source + destination + body
    )


def read(packet: bytes, before: bytes = b"") -> Segment | None:
    return parse(before + packet, len(before), len(packet))


@given(
    source=st.binary(min_size=4, max_size=4),
    destination=st.binary(min_size=4, max_size=4),
    source_port=ports,
    destination_port=ports,
    seq=words,
    flags=st.integers(0, 255),
    payload=st.binary(max_size=200),
    ip_options=st.integers(0, 10).map(lambda n: bytes(4 * n)),
    tcp_options=st.integers(0, 10).map(lambda n: bytes(4 * n)),
    before=st.binary(max_size=30),
    padding=st.binary(max_size=6),
)
def test_ipv4_gives_what_was_put_in(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    seq: int,
    flags: int,
    payload: bytes,
    ip_options: bytes,
    tcp_options: bytes,
    before: bytes,
    padding: bytes,
) -> None:
    body = tcp(source_port, destination_port, seq, flags, payload, tcp_options)
    segment = read(ipv4(source, destination, body, options=ip_options) + padding, before)
    assert segment is not None
    assert segment[1:] == (seq, flags, payload)
    assert endpoints(segment.flow) == (
        Address(str(ipaddress.ip_address(source)), source_port),
        Address(str(ipaddress.ip_address(destination)), destination_port),
    )


@given(
    source=st.binary(min_size=16, max_size=16),
    destination=st.binary(min_size=16, max_size=16),
    payload=st.binary(max_size=200),
    extensions=st.lists(st.tuples(st.sampled_from([0, 43, 60]), st.integers(0, 3)), max_size=8),
    padding=st.binary(max_size=6),
)
def test_ipv6_gives_what_was_put_in(
    source: bytes, destination: bytes, payload: bytes, extensions: list[tuple[int, int]], padding: bytes
) -> None:
    body, following = tcp(1, 2, 3, 16, payload), 6
    for kind, words_more in reversed(extensions):
        body, following = bytes([following, words_more]) + bytes(6 + 8 * words_more) + body, kind
    segment = read(ipv6(source, destination, body, following=following) + padding)
    assert segment is not None
    assert segment.payload == payload
    peer, own = endpoints(segment.flow)
    assert (ipaddress.ip_address(peer.ip).packed, ipaddress.ip_address(own.ip).packed) == (source, destination)
    assert (peer.port, own.port) == (1, 2)


@given(data=st.binary(max_size=120), start=st.integers(0, 40), first=st.sampled_from([0x45, 0x4F, 0x60, None]))
def test_anything_else_is_left_out_without_harm(data: bytes, start: int, first: int | None) -> None:
    raw = bytearray(data)
    if first is not None and len(raw) > start:
        raw[start] = first
    segment = parse(bytes(raw), start, max(0, len(raw) - start))
    if segment is not None:
        assert len(segment.payload) <= len(raw)
        assert endpoints(segment.flow)


A4, B4 = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
A6, B6 = bytes(15) + b"\1", bytes(15) + b"\2"
BODY = tcp(1, 2, 3, 16, b"payload")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        ipv4(A4, B4, BODY)[:39],
        ipv4(A4, B4, tcp(1, 2, 3, 16, b"", bytes(8)))[:-1],
        ipv4(A4, B4, BODY, total=39),
        b"\x44" + ipv4(A4, B4, BODY)[1:],
        b"\x35" + ipv4(A4, B4, BODY)[1:],
        ipv4(A4, B4, BODY)[:6] + b"\x00\x01" + ipv4(A4, B4, BODY)[8:],
        ipv4(A4, B4, BODY)[:6] + b"\x21\x00" + ipv4(A4, B4, BODY)[8:],
        ipv4(A4, B4, BODY)[:9] + b"\x11" + ipv4(A4, B4, BODY)[10:],
        ipv4(A4, B4, BODY[:12] + b"\x40" + BODY[13:]),
        ipv6(A6, B6, BODY)[:59],
        ipv6(A6, B6, BODY, following=17),
        ipv6(A6, B6, bytes([6, 0]) + bytes(6) + BODY, following=44),
        ipv6(A6, B6, bytes([6, 255]) + bytes(6) + BODY, following=0),
        ipv6(A6, B6, (bytes([0, 0]) + bytes(6)) * 9 + BODY, following=0),
    ],
)
def test_packet_without_a_whole_tcp_header_is_left_out(packet: bytes) -> None:
    assert read(packet) is None


def test_length_of_zero_means_all_there_is() -> None:
    for packet in (ipv4(A4, B4, BODY, total=0), ipv6(A6, B6, BODY, size=0)):
        segment = read(packet)
        assert segment is not None
        assert segment.payload == b"payload"
