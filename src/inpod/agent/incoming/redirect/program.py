"""The BPF program of `sk_lookup`, as instructions. No I/O here.

Source: struct bpf_sk_lookup and enum bpf_func_id in linux/bpf.h.
"""

import socket

from inpod.agent.incoming.redirect.assembler import Assembler, Register, Size
from inpod.agent.incoming.redirect.base import STALE_AFTER_S

_MAP_LOOKUP_ELEM = 1
_KTIME_GET_NS = 5
_SK_RELEASE = 86
_SK_ASSIGN = 124
_SK_PASS = 1

# struct bpf_sk_lookup, what the program is given.
_FAMILY = 8
_PROTOCOL = 12
_REMOTE_IP4 = 16
_REMOTE_IP6 = 20
_REMOTE_PORT = 36
_LOCAL_IP4 = 40
_LOCAL_IP6 = 44
_LOCAL_PORT = 60


def build_program(beat_fd: int, listeners_fd: int, exempt_fd: int, addresses_fd: int | None = None) -> bytes:
    """Return the program: if the beat is fresh and the port is stolen, assign our listener; else leave it to the kernel.

    Args:
        beat_fd: An array whose only value is the time of the last beat (CLOCK_MONOTONIC, nanoseconds).
        listeners_fd: A sockhash of listeners by port, protocol and family.
        exempt_fd: A hash of our own connections to the original, by the client's address and port.
        addresses_fd: A hash of the addresses whose ports are stolen; None: all.
    """
    r = Register
    a = Assembler()
    a.move(r.R6, r.R1)
    a.store(Size.U32, r.FP, -4, 0)
    _look_up(a, beat_fd, -4)
    a.jump_if_zero(r.R0, "pass")
    a.load(Size.U64, r.R7, r.R0, 0)
    a.call(_KTIME_GET_NS)
    a.subtract(r.R0, r.R7)
    # A beat from the future wraps around and is stale as well.
    a.jump_if_above(r.R0, int(STALE_AFTER_S * 1e9), "pass")

    _store_address(a, -36, _REMOTE_IP4, _REMOTE_IP6, "remote")
    a.load(Size.U16, r.R1, r.R6, _REMOTE_PORT)
    a.store(Size.U32, r.FP, -20, r.R1)
    _look_up(a, exempt_fd, -36)
    a.jump_if_not_zero(r.R0, "pass")

    if addresses_fd is not None:
        _store_address(a, -36, _LOCAL_IP4, _LOCAL_IP6, "local")
        _look_up(a, addresses_fd, -36)
        a.jump_if_zero(r.R0, "pass")

    a.load(Size.U32, r.R1, r.R6, _LOCAL_PORT)
    a.store(Size.U32, r.FP, -16, r.R1)
    a.load(Size.U32, r.R1, r.R6, _PROTOCOL)
    a.store(Size.U16, r.FP, -12, r.R1)
    a.load(Size.U32, r.R1, r.R6, _FAMILY)
    a.store(Size.U16, r.FP, -10, r.R1)
    _look_up(a, listeners_fd, -16)
    a.jump_if_zero(r.R0, "pass")

    a.move(r.R7, r.R0)
    a.move(r.R1, r.R6)
    a.move(r.R2, r.R7)
    # Without the flag to replace: who attached before us and chose keeps what it chose.
    a.move(r.R3, 0)
    a.call(_SK_ASSIGN)
    a.move(r.R1, r.R7)
    a.call(_SK_RELEASE)
    a.label("pass")
    a.exit(_SK_PASS)
    return a.assemble()


def _look_up(a: Assembler, map_fd: int, key_at: int) -> None:
    """R0 = the value under the key on the stack, or 0."""
    a.load_map(Register.R1, map_fd)
    a.move(Register.R2, Register.FP)
    a.add(Register.R2, key_at)
    a.call(_MAP_LOOKUP_ELEM)


def _store_address(a: Assembler, at: int, ipv4: int, ipv6: int, name: str) -> None:
    """Put 16 bytes on the stack: the address in the program's argument; an IPv4 one is followed by zeros."""
    a.load(Size.U32, Register.R1, Register.R6, _FAMILY)
    a.jump_if_equal(Register.R1, socket.AF_INET6, f"{name} IPv6")
    a.load(Size.U32, Register.R1, Register.R6, ipv4)
    a.store(Size.U32, Register.FP, at, Register.R1)
    for word in range(1, 4):
        a.store(Size.U32, Register.FP, at + 4 * word, 0)
    a.jump(f"{name} end")
    a.label(f"{name} IPv6")
    for word in range(4):
        a.load(Size.U32, Register.R1, Register.R6, ipv6 + 4 * word)
        a.store(Size.U32, Register.FP, at + 4 * word, Register.R1)
    a.label(f"{name} end")
