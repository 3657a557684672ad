"""The session's side of the socket table."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.protocol.layer import Addr, encode_addr
from inpod.session.table import (
    MAGIC,
    NO_ADDRESS,
    PORT_SLOT,
    PORTS_AT,
    PROBES,
    SLOTS,
    SOCKET_SLOT,
    SOCKETS_AT,
    TABLE_BYTES,
    UDP_PORTS_AT,
    Table,
)

COOKIE = 0x1234
PEER = Addr.of("10.1.2.3", 80)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table"


@pytest.fixture
def table(path: Path) -> Iterator[Table]:
    table = Table(path)
    yield table
    table.close()


def slot_of(cookie: int) -> int:
    """Return a cookie's first slot, computed apart from the code under test."""
    return (cookie * 0x9E3779B97F4A7C15 % (1 << 64)) >> 48


def put(path: Path, slot: int, cookie: int, relay: int = 0) -> None:
    """Write a slot as a layer does."""
    with path.open("rb+") as file:
        file.seek(SOCKETS_AT + slot % SLOTS * SOCKET_SLOT.size)
        file.write(SOCKET_SLOT.pack(cookie, NO_ADDRESS, encode_addr(PEER), 0, 3, relay))


def read(path: Path, slot: int) -> tuple[object, ...]:
    data = path.read_bytes()
    return SOCKET_SLOT.unpack_from(data, SOCKETS_AT + slot % SLOTS * SOCKET_SLOT.size)


def test_file_has_the_layout_of_its_docstring(table: Table, path: Path) -> None:
    data = path.read_bytes()
    assert len(data) == TABLE_BYTES == 64 + 65536 * 48 + 65536 * 64 + 65536 * 48
    assert data[:8] == MAGIC
    assert not any(data[8:])
    # Not sparse: what is written to later needs no room.
    assert path.stat().st_blocks * 512 >= TABLE_BYTES


def test_port_slot_is_whole_and_forgotten(table: Table, path: Path) -> None:
    table.set_port(40000, peer=PEER, local=Addr.of("::1", 8080))
    at = PORTS_AT + 40000 * PORT_SLOT.size
    assert path.read_bytes()[at : at + 48] == encode_addr(PEER) + encode_addr(Addr.of("::1", 8080)) + struct.pack(
        "<II", 1, 0
    )
    table.clear_port(40000)
    assert not any(path.read_bytes()[at : at + 48])


def test_udp_port_is_another_and_takes_the_relay_of_its_socket_along(table: Table, path: Path) -> None:
    table.set_port(40000, peer=PEER, local=PEER)
    table.set_udp_port(40000, peer=Addr.of("10.9.9.9", 53), local=PEER)
    at = UDP_PORTS_AT + 40000 * PORT_SLOT.size
    assert path.read_bytes()[at : at + 20] == encode_addr(Addr.of("10.9.9.9", 53))
    put(path, slot_of(COOKIE), COOKIE, relay=40000)
    put(path, slot_of(COOKIE + 1), COOKIE + 1, relay=40001)
    table.clear_udp_port(40000, COOKIE)
    table.clear_udp_port(40000, COOKIE + 1)
    assert not any(path.read_bytes()[at : at + 48])
    assert any(path.read_bytes()[PORTS_AT + 40000 * PORT_SLOT.size :][:48])
    assert [read(path, slot_of(cookie))[-1] for cookie in (COOKIE, COOKIE + 1)] == [0, 40001]


@pytest.mark.parametrize("step", [0, 1, PROBES - 1])
def test_slot_is_found_behind_others(table: Table, path: Path, step: int) -> None:
    for other in range(step):
        put(path, slot_of(COOKIE) + other, 99_000 + other)
    put(path, slot_of(COOKIE) + step, COOKIE)
    table.set_errno(COOKIE, 111)
    table.set_local(COOKIE, Addr.of("10.0.0.9", 5000))
    cookie, local, peer, errno, kind, _ = read(path, slot_of(COOKIE) + step)
    assert (cookie, errno, kind) == (COOKIE, 111, 3)
    assert (local, peer) == (encode_addr(Addr.of("10.0.0.9", 5000)), encode_addr(PEER))
    assert table.addresses(COOKIE) == (Addr.of("10.0.0.9", 5000), PEER)


def test_socket_without_slot_is_left_out(table: Table, path: Path) -> None:
    before = path.read_bytes()
    table.set_errno(COOKIE, 111)
    table.set_local(COOKIE, PEER)
    assert table.addresses(COOKIE) is None
    assert path.read_bytes() == before
