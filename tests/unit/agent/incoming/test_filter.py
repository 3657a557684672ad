"""The packet filter as the kernel will check it: jumps that land, and an end."""

import struct

import pytest

from inpod.agent.incoming.mirror.filter import MAX_PORTS, build

RETURN, JUMP, JUMPS = 0x06, 0x05, (0x15, 0x45, 0x2D)


@pytest.mark.parametrize("ports", [[], [80], [80, 80, 443], range(1, 1 + MAX_PORTS)])
def test_jumps_land(ports: list[int]) -> None:
    code = list(struct.iter_unpack("=HBBI", build(ports)))
    assert code[-1][0] == RETURN
    compared = set()
    for at, (opcode, far, near, value) in enumerate(code):
        if opcode in JUMPS:
            assert at + 1 + max(far, near) < len(code)
            compared.add(value)
        elif opcode == JUMP:
            assert at + 1 + value < len(code)
    assert set(ports) <= compared
