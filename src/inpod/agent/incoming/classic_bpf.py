"""Filters that the kernel runs on every packet of a socket: put together, and attached.

Classic BPF (Documentation/networking/filter.rst of Linux): an accumulator A, an index X, forward jumps. Data begins at
the IP header on packet sockets of type SOCK_DGRAM and on raw sockets of IPv4, behind it on raw sockets of IPv6.
"""

import ctypes
import os
import socket
import struct

LD_WORD, LD_HALF, LD_BYTE, LD_LEN = 0x20, 0x28, 0x30, 0x80
LD_WORD_X, LD_HALF_X, LD_BYTE_X, LD_MEM = 0x40, 0x48, 0x50, 0x60
LDX_IMMEDIATE, LDX_IPV4_HEADER_BYTES = 0x01, 0xB1
STORE = 0x02
ADD, ADD_X, SHIFT_LEFT, SHIFT_RIGHT = 0x04, 0x0C, 0x64, 0x74
TAX = 0x07
RETURN = 0x06
_JUMP, _JUMP_EQUAL, _JUMP_SET, _JUMP_GREATER_X = 0x05, 0x15, 0x45, 0x2D

_META = -0x1000
_META_PROTOCOL, _META_PACKET_TYPE = _META, _META + 4
_PACKET_HOST = 0
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD
EVERYTHING = 0xFFFF_FFFF

_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 3

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter
_FILTER = struct.Struct("@HP")  # struct sock_fprog
_SOCKADDR = struct.Struct("=HHiHBB8s")  # struct sockaddr_ll

_libc = ctypes.CDLL(None, use_errno=True)


def attach(sock: socket.socket, code: bytes) -> None:
    """Have `sock` get only what the filter `code` lets pass; replaces the one before.

    Raises:
        OSError: As setsockopt(2).
    """
    held = ctypes.create_string_buffer(code, len(code))
    program = _FILTER.pack(len(code) // _INSTRUCTION.size, ctypes.addressof(held))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def bind_to_all_devices(sock: socket.socket) -> None:
    """Have a packet socket's packets come from here on, of interface 0: all devices. Python's own bind cannot say that."""
    address = _SOCKADDR.pack(socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0, b"")
    if _libc.bind(sock.fileno(), address, len(address)) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class Program:
    """A filter in the making."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, str | None, str | None]] = []
        self._labels: dict[str, int] = {}

    def do(self, opcode: int, value: int = 0) -> None:
        self._code.append((opcode, value, None, None))

    def when(self, value: int, then: str) -> None:
        """Jump if A is `value`."""
        self._code.append((_JUMP_EQUAL, value, then, None))

    def unless(self, value: int, then: str) -> None:
        """Jump if A is not `value`."""
        self._code.append((_JUMP_EQUAL, value, None, then))

    def when_set(self, bits: int, then: str) -> None:
        """Jump if A has one of `bits`."""
        self._code.append((_JUMP_SET, bits, then, None))

    def when_greater_than_x(self, then: str) -> None:
        self._code.append((_JUMP_GREATER_X, 0, then, None))

    def jump(self, then: str) -> None:
        self._code.append((_JUMP, 0, then, None))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def begin_at_ip(self, *, ipv6: str, otherwise: str) -> None:
        """Go on with IPv4 for this host (so loopback's packets come once); of packet sockets."""
        self.do(LD_WORD, _META_PACKET_TYPE)
        self.unless(_PACKET_HOST, otherwise)
        self.do(LD_WORD, _META_PROTOCOL)
        self.when(_ETHERTYPE_IPV6, ipv6)
        self.unless(_ETHERTYPE_IPV4, otherwise)

    def assemble(self) -> bytes:
        out = bytearray()
        for at, (opcode, value, then, otherwise) in enumerate(self._code):
            far, near = (0 if name is None else self._labels[name] - at - 1 for name in (then, otherwise))
            if opcode == _JUMP:
                far, value = 0, far
            out += _INSTRUCTION.pack(opcode, far, near, value & 0xFFFF_FFFF)
        return bytes(out)


def _nothing() -> bytes:
    program = Program()
    program.do(RETURN, 0)
    return program.assemble()


NOTHING = _nothing()
"""The filter that lets nothing pass."""
