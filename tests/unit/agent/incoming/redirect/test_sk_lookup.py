"""The assembler, the program and the words of refusal, without a kernel."""

import errno
import os

import pytest

from inpod.agent.incoming.redirect.assembler import Assembler, Register, Size
from inpod.agent.incoming.redirect.program import build_program
from inpod.agent.incoming.redirect.sk_lookup import explain


def test_instructions_are_encoded_as_the_kernel_documents() -> None:
    a = Assembler()
    a.move(Register.R6, Register.R1)
    a.move(Register.R3, -1)
    a.add(Register.R2, -4)
    a.subtract(Register.R0, Register.R7)
    a.load(Size.U64, Register.R7, Register.R0, 8)
    a.store(Size.U16, Register.FP, -12, Register.R1)
    a.store(Size.U32, Register.FP, -4, 7)
    a.load_map(Register.R1, 5)
    a.call(124)
    a.exit(1)
    assert a.assemble().hex(" ", 8).split() == [
        "bf16000000000000",
        "b7030000ffffffff",
        "07020000fcffffff",
        "1f70000000000000",
        "7907080000000000",
        "6b1af4ff00000000",
        "620afcff07000000",
        "1811000005000000",
        "0000000000000000",
        "850000007c000000",
        "b700000001000000",
        "9500000000000000",
    ]


def test_jumps_reach_their_labels_both_ways() -> None:
    a = Assembler()
    a.label("start")
    a.jump_if_zero(Register.R0, "end")
    a.jump_if_above(Register.R1, 2_000_000_000, "start")
    a.jump("end")
    a.label("end")
    a.exit(0)
    assert a.assemble()[:24].hex(" ", 8).split() == ["1500020000000000", "2501feff00943577", "0500000000000000"]


def test_wrong_labels_are_found() -> None:
    a = Assembler()
    a.label("here")
    with pytest.raises(ValueError, match="twice"):
        a.label("here")
    a.jump("nowhere")
    with pytest.raises(KeyError):
        a.assemble()


def test_program_is_whole_instructions_and_ends() -> None:
    code = build_program(3, 4, 5)
    assert len(code) % 8 == 0
    assert code[-8:].hex() == "9500000000000000"


@pytest.mark.parametrize(
    ("code", "release", "words"),
    [
        (errno.EPERM, "6.1.0", ["EPERM", "CAP_BPF"]),
        (errno.EINVAL, "5.4.0-26-generic", ["Linux 5.9", "5.4.0-26-generic"]),
        (errno.EPERM, "4.19.0", ["Linux 5.9"]),
        (errno.ENOSYS, "6.1.0", ["ENOSYS", "not implemented"]),
        (errno.EINVAL, "odd", ["EINVAL"]),
    ],
)
def test_refusal_is_explained(code: int, release: str, words: list[str]) -> None:
    said = explain(OSError(code, os.strerror(code)), release)
    assert all(word in said for word in ["stealing by BPF sk_lookup", *words]), said
