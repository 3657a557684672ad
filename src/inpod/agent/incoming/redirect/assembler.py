"""A small eBPF assembler with labels: only the instructions that our programs use.

Source: Documentation/bpf/standardization/instruction-set.rst of Linux. An instruction is eight bytes: opcode, source
and destination register, a jump's or an address's offset, an immediate value.
"""

import struct
from enum import IntEnum

_INSTRUCTION = struct.Struct("<BBhi")


class Register(IntEnum):
    """R0 holds results, R1 to R5 arguments (lost in calls), R6 to R9 survive calls, FP is the end of the stack."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    FP = 10


class Size(IntEnum):
    """How much a load or store moves, as in the opcode."""

    U32 = 0x00
    U16 = 0x08
    U64 = 0x18


class Assembler:
    """Collects instructions. Jumps name labels that may come later."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: dict[int, str] = {}

    def move(self, to: Register, source: Register | int) -> None:
        """Do `to = source`."""
        self._arithmetic(0xB0, to, source)

    def add(self, to: Register, source: Register | int) -> None:
        """Do `to += source`."""
        self._arithmetic(0x00, to, source)

    def subtract(self, to: Register, source: Register | int) -> None:
        """Do `to -= source`."""
        self._arithmetic(0x10, to, source)

    def load(self, size: Size, to: Register, base: Register, offset: int) -> None:
        """Do `to = base[offset]`."""
        self._emit(0x61 | size, to, base, offset)

    def store(self, size: Size, base: Register, offset: int, source: Register | int) -> None:
        """Do `base[offset] = source`."""
        if isinstance(source, Register):
            self._emit(0x63 | size, base, source, offset)
        else:
            self._emit(0x62 | size, base, 0, offset, source)

    def load_map(self, to: Register, fd: int) -> None:
        """Set `to` to the map with the descriptor `fd`."""
        self._emit(0x18, to, 1, 0, fd)
        self._emit(0)

    def call(self, helper: int) -> None:
        """`R0 = helper(R1, …)`, a number of enum bpf_func_id."""
        self._emit(0x85, value=helper)

    def exit(self, value: int) -> None:
        """Return `value`."""
        self.move(Register.R0, value)
        self._emit(0x95)

    def jump(self, label: str) -> None:
        """Go to `label`."""
        self._jump(0x05, Register.R0, 0, label)

    def jump_if_zero(self, left: Register, label: str) -> None:
        """Go to `label` if `left == 0`."""
        self._jump(0x15, left, 0, label)

    def jump_if_equal(self, left: Register, right: int, label: str) -> None:
        """Go to `label` if `left == right`."""
        self._jump(0x15, left, right, label)

    def jump_if_not_zero(self, left: Register, label: str) -> None:
        """Go to `label` if `left != 0`."""
        self._jump(0x55, left, 0, label)

    def jump_if_above(self, left: Register, right: int, label: str) -> None:
        """Go to `label` if `left > right`, unsigned."""
        self._jump(0x25, left, right, label)

    def label(self, name: str) -> None:
        """Name the next instruction."""
        if name in self._labels:
            raise ValueError(f"label '{name}' is there twice")
        self._labels[name] = len(self._code)

    def assemble(self) -> bytes:
        """Return the instructions.

        Raises:
            KeyError: A jump goes to a label that is not there.
        """
        out = bytearray()
        for at, (opcode, to, source, offset, value) in enumerate(self._code):
            if at in self._jumps:
                offset = self._labels[self._jumps[at]] - at - 1
            out += _INSTRUCTION.pack(opcode, source << 4 | to, offset, value)
        return bytes(out)

    def _arithmetic(self, operation: int, to: Register, source: Register | int) -> None:
        if isinstance(source, Register):
            self._emit(0x0F | operation, to, source)
        else:
            self._emit(0x07 | operation, to, value=source)

    def _jump(self, opcode: int, left: Register, right: int, label: str) -> None:
        self._jumps[len(self._code)] = label
        self._emit(opcode, left, value=right)

    def _emit(self, opcode: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> None:
        self._code.append((opcode, to, source, offset, value))
