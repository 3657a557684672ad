"""The socket table: a file that session and layers map, so that neither the layer nor a child of it keeps state.

Twin of native/rules `table`. Little-endian, every slot aligned to 8 bytes:

    header      64 bytes    8 magic "inpodtb1", u32 flags (bit 0: a replica directory was opened or entered), rest zero
    ports       65536 slots of 48 bytes, index: a loopback port that the session connects *from* to the program
                            address peer (20), address local (20), u32 generation (0: empty), u32 zero
    sockets     65536 slots of 64 bytes, open addressing by SO_COOKIE
                            u64 cookie (0: empty), address local (20), address peer (20), i32 errno, u8 kind, 3 zero,
                            u16 relay (the loopback port that stands for peer, of a UDP socket), 6 zero
    UDP ports   as ports, index: a loopback port that datagrams come from

Addresses as in protocol/layer; family 0 means none. A socket's slot is (cookie * 0x9E3779B97F4A7C15 mod 2^64) >> 48,
then the next ones, at most PROBES; when all are taken, one whose kind is not LISTENER is overwritten.
The layer writes a socket's slot (addresses first, cookie last); the session writes `errno` and `local` of a connect,
and port slots before it connects.
"""

import mmap
import os
import struct
from pathlib import Path

from inpod.errors import ExitCode, UserError
from inpod.protocol.layer import Addr, decode_addr, encode_addr

MAGIC = b"inpodtb1"
SLOTS = 65536
HEADER_BYTES = 64
PORT_SLOT = struct.Struct("<20s20sII")
SOCKET_SLOT = struct.Struct("<Q20s20siB3xH6x")
PORTS_AT = HEADER_BYTES
SOCKETS_AT = PORTS_AT + SLOTS * PORT_SLOT.size
UDP_PORTS_AT = SOCKETS_AT + SLOTS * SOCKET_SLOT.size
TABLE_BYTES = UDP_PORTS_AT + SLOTS * PORT_SLOT.size
PROBES = 32
NO_ADDRESS = bytes(20)

_U64 = struct.Struct("<Q")
_I32 = struct.Struct("<i")
_U16 = struct.Struct("<H")
_LOCAL, _PEER, _ERRNO, _RELAY = 8, 28, 48, 56
"""Offsets inside a socket's slot."""


class Table:
    """The session's side of the file. Removed with the session's folder."""

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises:
            UserError: There is no room for it.
        """
        with path.open("xb+") as file:
            try:
                # Not sparse: whoever writes to a page for which there is no room, we or the program, dies of SIGBUS.
                os.posix_fallocate(file.fileno(), 0, TABLE_BYTES)
            except OSError as error:
                raise UserError(
                    f"There is no room for the session's folder in {path.parent.parent}: {error.strerror}",
                    hint=f"Free {TABLE_BYTES // 2**20 + 1} MiB there, or name a folder with more by TMPDIR.",
                    exit_code=ExitCode.NO_MEANS,
                ) from None
            file.write(MAGIC)
            file.flush()
            self._map = mmap.mmap(file.fileno(), TABLE_BYTES)
        self._generation = 0

    def close(self) -> None:
        """Unmap."""
        self._map.close()

    def set_port(self, port: int, *, peer: Addr, local: Addr) -> None:
        """Say whose connection comes from our loopback port `port`; before we connect."""
        self._set(PORTS_AT + port * PORT_SLOT.size, peer, local)

    def clear_port(self, port: int) -> None:
        """Forget the connection from `port`."""
        self._clear(PORTS_AT + port * PORT_SLOT.size)

    def set_udp_port(self, port: int, *, peer: Addr, local: Addr) -> None:
        """Say whose datagrams come from our loopback port `port`; before they do."""
        self._set(UDP_PORTS_AT + port * PORT_SLOT.size, peer, local)

    def clear_udp_port(self, port: int, cookie: int) -> None:
        """Forget whose datagrams come from `port`, and that what a socket sends is to go there."""
        self._clear(UDP_PORTS_AT + port * PORT_SLOT.size)
        if (at := self._find(cookie)) is not None and _U16.unpack_from(self._map, at + _RELAY)[0] == port:
            self._map[at + _RELAY : at + _RELAY + 2] = bytes(2)

    def set_local(self, cookie: int, local: Addr) -> None:
        """Give a connected socket its pod-side address."""
        if (at := self._find(cookie)) is not None:
            self._map[at + _LOCAL : at + _PEER] = encode_addr(local)

    def set_errno(self, cookie: int, errno: int) -> None:
        """Say how a connect failed in the pod."""
        if (at := self._find(cookie)) is not None:
            self._map[at + _ERRNO : at + _ERRNO + 4] = _I32.pack(errno)

    def addresses(self, cookie: int) -> tuple[Addr | None, Addr | None] | None:
        """Return local and peer of a socket; None when it has no slot."""
        at = self._find(cookie)
        return None if at is None else (decode_addr(self._map, at + _LOCAL), decode_addr(self._map, at + _PEER))

    def _set(self, at: int, peer: Addr, local: Addr) -> None:
        self._generation += 1
        slot = PORT_SLOT.pack(encode_addr(peer), encode_addr(local), self._generation & 0xFFFFFFFF or 1, 0)
        self._map[at : at + PORT_SLOT.size] = slot

    def _clear(self, at: int) -> None:
        self._map[at : at + PORT_SLOT.size] = bytes(PORT_SLOT.size)

    def _find(self, cookie: int) -> int | None:
        first = ((cookie * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF) >> 48
        for step in range(PROBES):
            at = SOCKETS_AT + ((first + step) % SLOTS) * SOCKET_SLOT.size
            if _U64.unpack_from(self._map, at)[0] == cookie:
                return at
        return None
