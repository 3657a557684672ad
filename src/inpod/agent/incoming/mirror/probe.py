"""A packet of our own that the capture must see: the self-test of mirroring.

It is a reset for a connection that does not exist, from a port by which we know it: whoever gets it leaves it out
(RFC 9293, 3.10.7), so the original notices nothing.
"""

import asyncio
import errno
import random
import socket
import struct
from collections.abc import Sequence

from inpod.agent.incoming.mirror.packets import Flag, Segment
from inpod.agent.incoming.udp_sockets import checksum

_HEADER = struct.Struct(">HHIIBBHHH")  # ports, sequence, acknowledgement, data offset, flags, window, checksum, urgent
_IPV6_CHECKSUM = 7
_CHECKSUM_AT = 16


ARRIVES_WITHIN_S = 2.0

TIMES = 3
"""A full ring may drop one."""


class Probes:
    """Those that are on their way."""

    def __init__(self) -> None:
        self._awaited: dict[bytes, asyncio.Event] = {}

    def see(self, segments: Sequence[Segment]) -> None:
        """Look for them in what was captured."""
        if self._awaited:
            for segment in segments:
                if (arrived := self._awaited.get(segment.flow)) is not None:
                    arrived.set()

    async def miss(self, ip: str, port: int) -> bool:
        """Return whether packets to a port of `ip`, an address of this network namespace, are not captured.

        Where none can be sent there is no loopback device, and nothing to be said.
        """
        for _ in range(TIMES):
            try:
                flow = send(ip, port)
            except OSError:
                return False
            arrived = self._awaited[flow] = asyncio.Event()
            try:
                async with asyncio.timeout(ARRIVES_WITHIN_S):
                    await arrived.wait()
                return False
            except TimeoutError:
                pass
            finally:
                del self._awaited[flow]
        return True


def send(ip: str, port: int) -> bytes:
    """Send one from `ip`, an address of this network namespace, to its `port`; return its `Segment.flow`.

    Raises:
        OSError: It cannot be sent: no right (CAP_NET_RAW), no loopback device.
    """
    is_v6 = ":" in ip
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    address = socket.inet_pton(family, ip)
    # Below those that connections have, above those of services.
    source = random.randrange(20000, 30000)  # noqa: S311  # nobody gains by guessing it
    header = _HEADER.pack(source, port, random.getrandbits(32), 0, 5 << 4, Flag.RST, 0, 0, 0)
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP) as sock:
        if is_v6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _CHECKSUM_AT)
        else:
            pseudo = address * 2 + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(header))
            summed = checksum(pseudo + header).to_bytes(2, "big")
            header = header[:_CHECKSUM_AT] + summed + header[_CHECKSUM_AT + 2 :]
        sock.bind((ip, 0))
        if sock.sendto(header, (ip, 0)) != len(header):
            raise OSError(errno.EIO, "the packet was cut")
    return address * 2 + header[:4]
