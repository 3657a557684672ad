"""The filter that the kernel runs on every packet, so that only those come up that carry a mirrored connection on.

Classic BPF (Documentation/networking/filter.rst of Linux): an accumulator A, an index X, forward jumps. Data begins at
the IP header, as on packet sockets of type SOCK_DGRAM.
"""

import struct
from collections.abc import Iterable

MAX_PORTS = 128
"""A conditional jump reaches 255 instructions far."""

_LD_WORD, _LD_HALF, _LD_BYTE, _LD_LEN = 0x20, 0x28, 0x30, 0x80
_LD_HALF_X, _LD_BYTE_X, _LD_MEM = 0x48, 0x50, 0x60
_LDX_IMMEDIATE, _LDX_IPV4_HEADER_BYTES = 0x01, 0xB1
_STORE = 0x02
_ADD, _ADD_X, _SHIFT_LEFT, _SHIFT_RIGHT = 0x04, 0x0C, 0x64, 0x74
_TAX = 0x07
_JUMP, _JUMP_EQUAL, _JUMP_SET, _JUMP_GREATER_X = 0x05, 0x15, 0x45, 0x2D
_RETURN = 0x06

_META = -0x1000
_META_PROTOCOL, _META_PACKET_TYPE = _META, _META + 4
_PACKET_HOST = 0
_ETHERTYPE_IPV4, _ETHERTYPE_IPV6 = 0x0800, 0x86DD
_TCP = 6
_FIN_SYN_RST = 7
_EVERYTHING = 0xFFFF_FFFF

_INSTRUCTION = struct.Struct("=HBBI")


def build(ports: Iterable[int]) -> bytes:
    """Return the filter, an array of struct sock_filter.

    It lets pass what is for this host (so loopback's packets come once), IPv4 or IPv6, TCP to one of `ports`, and opens,
    ends or carries bytes: bare acknowledgements stay out. IPv6 extension headers are followed one step, for
    the kernel puts a hop-by-hop header before packets over 64 KiB.
    """
    p = _Program()
    p.do(_LD_WORD, _META_PACKET_TYPE)
    p.unless(_PACKET_HOST, "no")
    p.do(_LD_WORD, _META_PROTOCOL)
    p.when(_ETHERTYPE_IPV6, "ipv6")
    p.unless(_ETHERTYPE_IPV4, "no")

    # IPv4: X becomes where TCP begins, A and M[0] the packet's length by its own account.
    p.do(_LD_BYTE, 9)
    p.unless(_TCP, "no")
    p.do(_LD_HALF, 6)
    p.when_set(0x1FFF, "no")
    p.do(_LDX_IPV4_HEADER_BYTES, 0)
    p.do(_LD_HALF, 2)
    p.unless(0, "length")
    p.jump("whole")

    p.label("ipv6")
    p.do(_LDX_IMMEDIATE, 40)
    p.do(_LD_BYTE, 6)
    p.when(_TCP, "ipv6 length")
    p.unless(0, "no")
    p.do(_LD_BYTE, 40)
    p.unless(_TCP, "no")
    p.do(_LD_BYTE, 41)
    p.do(_SHIFT_LEFT, 3)
    p.do(_ADD, 48)
    p.do(_TAX)
    p.label("ipv6 length")
    p.do(_LD_HALF, 4)
    p.when(0, "whole")
    p.do(_ADD, 40)
    p.jump("length")

    p.label("whole")
    p.do(_LD_LEN)
    p.label("length")
    p.do(_STORE, 0)
    p.do(_LD_HALF_X, 2)
    for port in sorted(set(ports)):
        p.when(port, "port")
    p.jump("no")
    p.label("port")
    p.do(_LD_BYTE_X, 13)
    p.when_set(_FIN_SYN_RST, "yes")
    # Is the packet longer than its headers?
    p.do(_LD_BYTE_X, 12)
    p.do(_SHIFT_RIGHT, 4)
    p.do(_SHIFT_LEFT, 2)
    p.do(_ADD_X)
    p.do(_TAX)
    p.do(_LD_MEM, 0)
    p.when_greater_than_x("yes")
    p.label("no")
    p.do(_RETURN, 0)
    p.label("yes")
    p.do(_RETURN, _EVERYTHING)
    return p.assemble()


class _Program:
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

    def assemble(self) -> bytes:
        out = bytearray()
        for at, (opcode, value, then, otherwise) in enumerate(self._code):
            far, near = (0 if name is None else self._labels[name] - at - 1 for name in (then, otherwise))
            if opcode == _JUMP:
                far, value = 0, far
            out += _INSTRUCTION.pack(opcode, far, near, value & 0xFFFF_FFFF)
        return bytes(out)
