"""Packets of our own that the copying of a port must see: the self-test of mirroring.

The original notices nothing. Of TCP it is a reset for a connection that does not exist: whoever gets it leaves it out
(RFC 9293, 3.10.7). Of UDP it is a header that gives itself a length of 1: raw sockets get a copy, then the kernel drops it,
before it looks for the port's socket. Both come from a port by which we know them.
"""

import asyncio
import errno
import random
import socket
import struct
from collections.abc import Sequence

from inpod.agent.incoming.mirror.packets import Flag, Segment
from inpod.agent.incoming.udp_sockets import PROBE_LENGTH, checksum
from inpod.protocol.agent import IpProtocol

_TCP_HEADER = struct.Struct(">HHIIBBHHH")
"""Ports, sequence, acknowledgement, data offset, flags, window, checksum, urgent."""
_UDP_HEADER = struct.Struct(">HHHH")  # ports, length, checksum
_IPV6_CHECKSUM = 7
_CHECKSUM_AT = 16

ARRIVES_WITHIN_S = 2.0

TIMES = 3
"""A full ring may drop one."""


class Probes:
    """Those of one protocol that are on their way."""

    def __init__(self, protocol: IpProtocol) -> None:
        self._protocol = protocol
        self._awaited: dict[bytes, asyncio.Event] = {}

    def look(self, segments: Sequence[Segment]) -> None:
        """Look for them in what was captured."""
        if self._awaited:
            for segment in segments:
                self.see(segment.flow)

    def see(self, flow: bytes) -> None:
        """Take note of a packet that may be one, by its `Segment.flow`."""
        if (arrived := self._awaited.get(flow)) is not None:
            arrived.set()

    async def miss(self, ip: str, port: int) -> bool:
        """Return whether packets to a port of `ip`, an address of this network namespace, are not captured.

        Where none can be sent there is no loopback device, and nothing to be said.
        """
        for _ in range(TIMES):
            try:
                flow = send(ip, port, self._protocol)
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


def send(ip: str, port: int, protocol: IpProtocol) -> bytes:
    """Send one from `ip`, an address of this network namespace, to its `port`; return its `Segment.flow`.

    Raises:
        OSError: It cannot be sent: no right (CAP_NET_RAW), no loopback device.
    """
    is_tcp = protocol == "tcp"
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    address = socket.inet_pton(family, ip)
    # Below those that connections have, above those of services.
    source = random.randrange(20000, 30000)  # noqa: S311  # nobody gains by guessing it
    number = socket.IPPROTO_TCP if is_tcp else socket.IPPROTO_UDP
    with socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, number) as sock:
        if is_tcp:
            header = _reset(source, port, address)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _CHECKSUM_AT)
        else:
            header = _UDP_HEADER.pack(source, port, PROBE_LENGTH, 0)
        sock.bind((ip, 0))
        if sock.sendto(header, (ip, 0)) != len(header):
            raise OSError(errno.EIO, "the packet was cut")
    return address * 2 + header[:4]


def _reset(source: int, port: int, address: bytes) -> bytes:
    """Return a TCP header from and to `address`; of IPv6 without its checksum, which the kernel fills in."""
    header = _TCP_HEADER.pack(source, port, random.getrandbits(32), 0, 5 << 4, Flag.RST, 0, 0, 0)
    if len(address) != 4:
        return header
    summed = checksum(address * 2 + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(header)) + header)
    return header[:_CHECKSUM_AT] + summed.to_bytes(2, "big") + header[_CHECKSUM_AT + 2 :]
