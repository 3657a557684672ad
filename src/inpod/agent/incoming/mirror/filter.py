"""The filter of mirroring: from all packets only those come up that carry a mirrored connection on."""

from collections.abc import Iterable

from inpod.agent.incoming.classic_bpf import (
    ADD,
    ADD_X,
    EVERYTHING,
    LD_BYTE,
    LD_BYTE_X,
    LD_HALF,
    LD_HALF_X,
    LD_LEN,
    LD_MEM,
    LD_WORD_X,
    LDX_IMMEDIATE,
    LDX_IPV4_HEADER_BYTES,
    RETURN,
    SHIFT_LEFT,
    SHIFT_RIGHT,
    STORE,
    TAX,
    Program,
)
from inpod.agent.incoming.knocks import KNOCK, KNOCK_BITS, TCP_HEADER_BYTES

MAX_PORTS = 128
"""A conditional jump reaches 255 instructions far."""

_TCP = 6
_FIN, _SYN, _RST = 1, 2, 4


def build(ports: Iterable[int]) -> bytes:
    """Return the filter, an array of struct sock_filter.

    It lets pass what is for this host (so loopback's packets come once), IPv4 or IPv6, TCP to one of `ports`, and opens,
    ends or carries bytes: bare acknowledgements stay out, and so do knocks (`knocks`). IPv6 extension headers are
    followed one step, for the kernel puts a hop-by-hop header before packets over 64 KiB.
    """
    p = Program()
    p.begin_at_ip(ipv6="ipv6", otherwise="no")

    # IPv4: X becomes where TCP begins, A and M[0] the packet's length by its own account.
    p.do(LD_BYTE, 9)
    p.unless(_TCP, "no")
    p.do(LD_HALF, 6)
    p.when_set(0x1FFF, "no")
    p.do(LDX_IPV4_HEADER_BYTES, 0)
    p.do(LD_HALF, 2)
    p.unless(0, "length")
    p.jump("whole")

    p.label("ipv6")
    p.do(LDX_IMMEDIATE, 40)
    p.do(LD_BYTE, 6)
    p.when(_TCP, "ipv6 length")
    p.unless(0, "no")
    p.do(LD_BYTE, 40)
    p.unless(_TCP, "no")
    p.do(LD_BYTE, 41)
    p.do(SHIFT_LEFT, 3)
    p.do(ADD, 48)
    p.do(TAX)
    p.label("ipv6 length")
    p.do(LD_HALF, 4)
    p.when(0, "whole")
    p.do(ADD, 40)
    p.jump("length")

    p.label("whole")
    p.do(LD_LEN)
    p.label("length")
    p.do(STORE, 0)
    p.do(LD_HALF_X, 2)
    for port in sorted(set(ports)):
        p.when(port, "port")
    p.jump("no")
    p.label("port")
    p.do(LD_BYTE_X, 13)
    p.when_set(_SYN, "syn")
    p.when_set(_FIN | _RST, "yes")
    # Is the packet longer than its headers?
    p.do(LD_BYTE_X, 12)
    p.do(SHIFT_RIGHT, 4)
    p.do(SHIFT_LEFT, 2)
    p.do(ADD_X)
    p.do(TAX)
    p.do(LD_MEM, 0)
    p.when_greater_than_x("yes")
    p.jump("no")
    p.label("syn")
    p.do(LD_BYTE_X, 12)
    p.do(SHIFT_RIGHT, 4)
    p.when(TCP_HEADER_BYTES // 4, "yes")
    p.do(LD_WORD_X, TCP_HEADER_BYTES)
    p.do(SHIFT_RIGHT, KNOCK_BITS)
    p.unless(KNOCK >> KNOCK_BITS, "yes")
    p.label("no")
    p.do(RETURN, 0)
    p.label("yes")
    p.do(RETURN, EVERYTHING)
    return p.assemble()
