"""Takes copies of packets from the kernel: a packet socket whose memory is shared with us (TPACKET_V3, packet(7)).

The kernel fills blocks one after the other and hands each over when it is full or `RETIRE_MS` old. While no block is
free it drops packets, and counts them; the traffic itself never waits.
"""

import contextlib
import errno
import mmap
import socket
import struct
from collections.abc import Iterable

from inpod.agent.incoming.classic_bpf import attach, bind_to_all_devices
from inpod.agent.incoming.mirror.filter import build
from inpod.agent.incoming.mirror.packets import Segment, parse

BLOCK_BYTES = 512 * 1024
"""Larger than any packet (segmentation offload makes them up to 64 KiB; BIG TCP is set to less than 192 KiB)."""

BLOCKS = 128
"""64 MiB: how far we may fall behind, for instance while another connection keeps the loop busy."""

FEWEST_BLOCKS = 8
"""When the kernel has no memory for more."""

RETIRE_MS = 10
"""How long a packet waits for its block to be handed over, at most. Each block wakes agent, session and program, and nobody waits
for a copy: at 2000 requests a second 10 ms take the agent half the processor time that 4 ms do."""

_SOL_PACKET = 263
_PACKET_RX_RING = 5
_PACKET_STATISTICS = 6
_PACKET_VERSION = 10
_PACKET_IGNORE_OUTGOING = 23
_TPACKET_V3 = 2

_FRAME_BYTES = 2048
"""Version 3 packs frames without gaps; the kernel only checks that this divides a block."""

_REQUEST = struct.Struct("=IIIIIII")  # struct tpacket_req3
_BLOCK = struct.Struct("=III")  # status, number of packets, offset of the first; from byte 8 on
_PACKET = struct.Struct("=I8xI10xH")  # struct tpacket3_hdr: offset of the next, captured bytes, offset of the network's
_STATISTICS = struct.Struct("=III")
_BLOCK_STATUS_AT = 8
_STATUS_KERNEL = 0
_STATUS_USER = 1


class Capture:
    """Packets for some ports of this network namespace, on all its devices.

    Raises:
        OSError: Not allowed, or not known to this kernel; see `explain`.
    """

    def __init__(self, ports: Iterable[int]) -> None:
        # Protocol 0: nothing comes before the filter is set and the socket bound.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            self._socket.setsockopt(_SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
            with contextlib.suppress(OSError):  # Linux 4.20; the filter drops them too
                self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
            self._blocks = _make_ring(self._socket)
            self._ring = mmap.mmap(self._socket.fileno(), BLOCK_BYTES * self._blocks)
            self._next = 0
            self.set_ports(ports)
            bind_to_all_devices(self._socket)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor; it is readable while there are packets."""
        return self._socket.fileno()

    def set_ports(self, ports: Iterable[int]) -> None:
        """Take these ports from here on; packets of the others are neither lost nor doubled."""
        attach(self._socket, build(ports))

    def read(self) -> list[Segment]:
        """Return the segments of the oldest block that the kernel has handed over, in order of arrival."""
        base = self._next * BLOCK_BYTES
        ring = self._ring
        status, count, first = _BLOCK.unpack_from(ring, base + _BLOCK_STATUS_AT)
        if not status & _STATUS_USER:
            return []
        segments: list[Segment] = []
        at, unpack = base + first, _PACKET.unpack_from
        for _ in range(count):
            step, captured, network = unpack(ring, at)
            if segment := parse(ring, at + network, captured):
                segments.append(segment)
            at += step
        struct.pack_into("=I", ring, base + _BLOCK_STATUS_AT, _STATUS_KERNEL)
        self._next = (self._next + 1) % self._blocks
        return segments

    def dropped(self) -> int:
        """Return how many packets the kernel had to drop since the last call."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        return int(_STATISTICS.unpack(raw)[1])

    def close(self) -> None:
        """Take no more packets."""
        self._ring.close()
        self._socket.close()


def probe() -> str | None:
    """Return why packets cannot be taken here; None when they can."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
    except OSError as error:
        return explain(error)
    return None


def explain(error: OSError) -> str:
    """Return in words what is missing, given why `Capture` failed."""
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    needs = "mirroring needs a packet socket"
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{needs}: refused with {code}; the agent lacks CAP_NET_RAW"
    if error.errno == errno.EAFNOSUPPORT:
        return f"{needs}, which this kernel does not have ({code})"
    return f"{needs}: {error.strerror} ({code})"


def _make_ring(sock: socket.socket) -> int:
    """Set the shared memory up; return how many blocks it has."""
    blocks = BLOCKS
    while True:
        frames = BLOCK_BYTES // _FRAME_BYTES * blocks
        request = _REQUEST.pack(BLOCK_BYTES, blocks, _FRAME_BYTES, frames, RETIRE_MS, 0, 0)
        try:
            sock.setsockopt(_SOL_PACKET, _PACKET_RX_RING, request)
        except OSError as error:
            if error.errno != errno.ENOMEM or blocks <= FEWEST_BLOCKS:
                raise
            blocks //= 2
        else:
            return blocks
