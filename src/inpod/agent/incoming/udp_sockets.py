"""Where incoming datagrams are had from, and how they are answered: as packets of the target's own port.

Copies come by raw sockets: the kernel gives them every datagram of this network namespace, put together from fragments;
a filter lets one port pass. Stolen datagrams come by the sockets that `SkLookup` has them given to; the address called
is told beside them (PKTINFO). Answers leave from a port that the original holds, so by raw sockets again (raw(7)).
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from inpod.agent.incoming.classic_bpf import (
    EVERYTHING,
    LD_HALF,
    LD_HALF_X,
    LDX_IPV4_HEADER_BYTES,
    NOTHING,
    RETURN,
    Program,
    attach,
)
from inpod.protocol.agent import Address

RECEIVE_BYTES = 4 * 1024 * 1024
"""Datagrams that wait for us; what is more the kernel drops."""

MAX_PACKET = 65536

PROBE_LENGTH = 1
"""What the header of a packet of our own says (`mirror.probe`), which the kernel gives to raw sockets and then drops."""

_SO_RCVBUFFORCE = 33
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49
_IPV6_PKTINFO = 50
_IPV6_CHECKSUM = 7
_CHECKSUM_AT = 6

_HEADER = struct.Struct(">HHHH")  # source port, destination port, length, checksum (RFC 768)
_PKTINFO = struct.Struct("=I4s4s")
_PKTINFO6 = struct.Struct("=16sI")
_CONTROL_BYTES = 128


class Received(NamedTuple):
    """A datagram, who sent it, and which address and port it was sent to."""

    data: bytes
    peer: Address
    called: Address


class Copies:
    """A raw socket that gets a copy of every datagram to a port.

    Attributes:
        on_probe: Called with the flow of a probe, as of `Segment.flow`.

    Raises:
        OSError: EPERM without CAP_NET_RAW; EAFNOSUPPORT where the kernel has no such IP version.
    """

    def __init__(self, family: socket.AddressFamily, port: int) -> None:
        self._port = port
        self.on_probe: Callable[[bytes], None] = lambda flow: None
        self.sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_UDP)
        try:
            attach(self.sock, _to_port(family, port))
            prepare(self.sock)
        except BaseException:
            self.sock.close()
            raise

    def receive(self) -> Received | None:
        """Return the next one; None for what came before the filter, or is cut.

        Raises:
            OSError: BlockingIOError when there is none.
        """
        packet, control, _, sender = self.sock.recvmsg(MAX_PACKET, _CONTROL_BYTES)
        if self.sock.family == socket.AF_INET:
            header_bytes = (packet[0] & 15) * 4
            called = socket.inet_ntoa(packet[16:20])
            packet = packet[header_bytes:]
        else:
            called = _called(control)
        if len(packet) < _HEADER.size:
            return None
        source, to, length, _ = _HEADER.unpack_from(packet)
        if length == PROBE_LENGTH:
            addresses = (socket.inet_pton(self.sock.family, ip) for ip in (_plain(sender[0]), called))
            self.on_probe(b"".join(addresses) + packet[:4])
        if to != self._port or not _HEADER.size <= length <= len(packet):
            return None
        return Received(packet[_HEADER.size : length], Address(_plain(sender[0]), source), Address(called, to))


class Stolen:
    """A socket that a `Redirect` for UDP made."""

    def __init__(self, sock: socket.socket, port: int) -> None:
        self._port = port
        self.sock = sock
        prepare(sock)

    def receive(self) -> Received | None:
        """As of `Copies`; None for one that nobody diverted."""
        data, control, _, sender = self.sock.recvmsg(MAX_PACKET, _CONTROL_BYTES)
        called = _called(control)
        return Received(data, Address(_plain(sender[0]), sender[1]), Address(called, self._port)) if called else None


class Answers:
    """Sends datagrams from ports that others hold.

    Raises:
        OSError: EPERM without CAP_NET_RAW.
    """

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_UDP)
            except OSError as error:
                if error.errno == errno.EAFNOSUPPORT:
                    continue
                self.close()
                raise
            self._sockets[family] = sock
            attach(sock, NOTHING)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_CHECKSUM, _CHECKSUM_AT)

    def close(self) -> None:
        """Send no more."""
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def send(self, data: bytes, source: Address, to: Address) -> None:
        """Send one; dropped when the kernel does not take it.

        Raises:
            OSError: It cannot go, ever: no route, too long.
        """
        is_v6 = ":" in to.ip
        sock = self._sockets.get(socket.AF_INET6 if is_v6 else socket.AF_INET)
        if sock is None:
            return
        length = _HEADER.size + len(data)
        header = _HEADER.pack(source.port, to.port, length, 0)
        if is_v6:
            # The kernel fills in the checksum.
            info = _PKTINFO6.pack(socket.inet_pton(socket.AF_INET6, source.ip), 0)
            control = (socket.IPPROTO_IPV6, _IPV6_PKTINFO, info)
        else:
            own, far = socket.inet_aton(source.ip), socket.inet_aton(to.ip)
            pseudo = own + far + struct.pack(">BBH", 0, socket.IPPROTO_UDP, length)
            header = _HEADER.pack(source.port, to.port, length, checksum(pseudo + header + data))
            control = (socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO.pack(0, own, bytes(4)))
        with contextlib.suppress(BlockingIOError):
            sock.sendmsg([header, data], [control], 0, (to.ip, 0))


def prepare(sock: socket.socket) -> None:
    """Give a socket room, and have it tell the address called."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BYTES)
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)


def checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071, never 0, which in UDP means that there is none."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF) or 0xFFFF


def _called(control: list[tuple[int, int, bytes]]) -> str:
    for level, kind, data in control:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= _PKTINFO.size:
            return socket.inet_ntoa(_PKTINFO.unpack_from(data)[2])
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(data) >= _PKTINFO6.size:
            return socket.inet_ntop(socket.AF_INET6, _PKTINFO6.unpack_from(data)[0])
    return ""


def _plain(ip: str) -> str:
    return ip.partition("%")[0]


def _to_port(family: int, port: int) -> bytes:
    """Return a filter: a raw socket of IPv4 has the IP header before UDP's, one of IPv6 has not."""
    program = Program()
    if family == socket.AF_INET:
        program.do(LDX_IPV4_HEADER_BYTES)
        program.do(LD_HALF_X, 2)
    else:
        program.do(LD_HALF, 2)
    program.unless(port, "no")
    program.do(RETURN, EVERYTHING)
    program.label("no")
    program.do(RETURN, 0)
    return program.assemble()
