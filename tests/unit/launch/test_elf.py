"""Kinds of programs: made byte by byte, and real ones of this machine."""

import os
import shutil
import struct
from pathlib import Path

import pytest

from inpod.launch.elf import Kind, kind_of, look, script_words

PATH = "/usr/bin:/bin"
PT_INTERP, PT_NOTE, PT_LOAD = 3, 4, 1


def elf(*segments: tuple[int, bytes], bits: int = 2) -> bytes:
    """Return the beginning of an ELF file with these segments (elf(5))."""
    headers, contents = b"", b""
    at = 64 + 56 * len(segments)
    for kind, content in segments:
        headers += struct.pack("<IIQQQQQQ", kind, 4, at + len(contents), 0, 0, len(content), len(content), 1)
        contents += content
    ident = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    rest = struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, len(segments), 0, 0, 0)
    return ident + rest + headers + contents


GLIBC = (PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0")
GO_NOTE = (PT_NOTE, struct.pack("<III", 4, 4, 4) + b"Go\0\0abcd")
GNU_NOTE = (PT_NOTE, struct.pack("<III", 4, 4, 1) + b"GNU\0abcd")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (elf(GLIBC), Kind.DYNAMIC),
        (elf(GNU_NOTE, GLIBC), Kind.DYNAMIC),
        (elf((PT_INTERP, b"/nix/store/abc-glibc/lib/ld-linux-x86-64.so.2\0")), Kind.DYNAMIC),
        (elf((PT_LOAD, b"code")), Kind.STATIC),
        (elf(GNU_NOTE), Kind.STATIC),
        (elf(GO_NOTE), Kind.GO),
        (elf(GLIBC, GO_NOTE), Kind.GO),
        (elf((PT_INTERP, b"/lib/ld-musl-x86_64.so.1\0")), Kind.MUSL),
        (elf(GLIBC, bits=1), Kind.BITS_32),
        (b"#!/bin/sh\necho", Kind.SCRIPT),
        (b"echo hello\n", Kind.TEXT),
        (b"", Kind.TEXT),
        (b"MZ\0\0binary", Kind.UNKNOWN),
        (elf(GLIBC)[:40], Kind.UNKNOWN),
    ],
)
def test_kind_by_bytes(head: bytes, kind: Kind) -> None:
    assert kind_of(head) is kind


def test_any_cut_of_a_program_is_judged_without_failing() -> None:
    whole = elf(GNU_NOTE, GLIBC, GO_NOTE)
    for length in range(len(whole)):
        kind_of(whole[:length])


@pytest.mark.parametrize(
    ("name", "kind"), [("python3", Kind.DYNAMIC), ("sh", Kind.DYNAMIC), ("ldconfig", Kind.STATIC), ("go", Kind.GO)]
)
def test_kind_of_real_programs(name: str, kind: Kind) -> None:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert path is not None
    assert look(os.path.realpath(path), PATH).kind is kind


@pytest.mark.parametrize(
    ("at", "names", "kind"),
    [
        (100 << 20, b"\0.text\0.bun\0.data\0", Kind.BUN),
        (100 << 20, b"\0.text\0.data\0", Kind.DYNAMIC),
        (1 << 20, b"\0.text\0.bun\0", Kind.DYNAMIC),  # too small to be looked at
        (100 << 20, b"", Kind.DYNAMIC),
    ],
)
def test_a_large_program_is_told_by_the_names_of_its_sections(
    at: int, names: bytes, kind: Kind, tmp_path: Path
) -> None:
    head = bytearray(elf(GLIBC))
    struct.pack_into("<Q", head, 40, at)
    struct.pack_into("<HHH", head, 58, 64, 2, 1)
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(head)
        file.seek(at + 64)
        file.write(struct.pack("<24xQQ24x", at + 128, len(names)) + names)
    assert look(str(path), PATH).kind is kind


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"#!/bin/sh\n", ["/bin/sh"]),
        (b"#! /bin/sh -e -x \n", ["/bin/sh", "-e -x"]),
        (b"#!/usr/bin/env python3", ["/usr/bin/env", "python3"]),
        (b"#!\t/bin/sh\t-e\n", ["/bin/sh", "-e"]),
        (b"#!\n", []),
    ],
)
def test_a_script_names_interpreter_and_one_argument(line: bytes, words: list[str]) -> None:
    assert script_words(line) == words


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_a_script_is_what_its_interpreter_is(tmp_path: Path) -> None:
    outer = script(tmp_path / "outer", f"#!{script(tmp_path / 'inner', '#!/bin/sh')} -x\n")
    program = look(outer, PATH)
    assert program.kind is Kind.DYNAMIC
    assert program.files == (outer, str(tmp_path / "inner"), "/bin/sh")


def test_env_is_looked_through(tmp_path: Path) -> None:
    binary = tmp_path / "tool"
    binary.write_bytes(elf(GO_NOTE))
    binary.chmod(0o755)
    path = script(tmp_path / "script", "#!/usr/bin/env -S A=1 tool --flag\n")
    program = look(path, f"{PATH}:{tmp_path}")
    assert program.kind is Kind.GO
    assert program.files == (path, "/usr/bin/env", str(binary))


def test_a_circle_of_scripts_ends(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    script(path, f"#!{path}\n")
    assert look(str(path), PATH).kind is Kind.UNKNOWN


def test_a_program_that_changes_rights_is_set_id(tmp_path: Path) -> None:
    other = os.getuid() + 4242
    path = tmp_path / "true"
    shutil.copy(os.path.realpath("/bin/true"), path)
    try:
        os.chown(path, other, os.getgid())
    except PermissionError:
        pytest.fail("run the suite as root")
    path.chmod(0o4755)
    assert look(str(path), PATH).kind is Kind.SET_ID
    os.chown(path, os.getuid(), os.getgid())
    path.chmod(0o4755)
    assert look(str(path), PATH).kind is Kind.DYNAMIC
