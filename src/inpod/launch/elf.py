"""Which kind of program a file is: can the layer reach it? (elf(5), execve(2), ld.so(8)).

The layer asks the same of each program that its own one starts: native/rules/src/elf.rs.
"""

import os
import shutil
import stat
import struct
from enum import Enum
from typing import BinaryIO, NamedTuple

HEAD_BYTES = 64 * 1024
"""Enough for the headers and notes of every linker's output seen."""

MAX_INTERPRETERS = 5
"""As the kernel (exec_binprm): a script's interpreter may be a script itself."""

SCRIPT_LINE_BYTES = 256
"""Longest first line of a script that the kernel reads (BINPRM_BUF_SIZE)."""

LEAST_BUN_BYTES = 32 << 20
"""Bun's section headers lie at its end, some 100 MB behind its start. Smaller programs are not asked for the names."""

_SECTION_NAMES = 1024
_PT_INTERP, _PT_NOTE = 3, 4
_CLASS_64 = 2


class Kind(Enum):
    """What a file is. The values are for people."""

    DYNAMIC = "a dynamic program"
    STATIC = "linked statically"
    GO = "a Go program"
    BUN = "a program of Bun's"
    MUSL = "built for musl"
    BITS_32 = "a 32-bit program"
    SET_ID = "set-id (or has file capabilities)"
    SCRIPT = "a script"
    TEXT = "text without '#!'"
    UNKNOWN = "no program of Linux"


class Program(NamedTuple):
    """What execve would run.

    Attributes:
        kind: DYNAMIC: the layer reaches it. Never SCRIPT.
        files: The file itself, and for scripts the interpreter after it, and so on.
    """

    kind: Kind
    files: tuple[str, ...]


def kind_of(head: bytes) -> Kind:
    """Return the kind of a file that begins with `head`."""
    if head.startswith(b"#!"):
        return Kind.SCRIPT
    if not head.startswith(b"\x7fELF") or len(head) < 64:
        # As bash: a NUL in the first line means that it is no text.
        return Kind.UNKNOWN if b"\0" in head.split(b"\n", 1)[0] or head.startswith(b"\x7fELF") else Kind.TEXT
    if head[4] != _CLASS_64:
        return Kind.BITS_32
    return _kind_by_segments(head)


def script_words(head: bytes) -> list[str]:
    """Return a script's interpreter and its argument, of which there is one at most."""
    line = head[2:SCRIPT_LINE_BYTES].split(b"\n", 1)[0].strip(b" \t")
    return [os.fsdecode(word) for word in line.split(None, 1)]


def look(path: str, search: str) -> Program:
    """Return what runs when `path` is executed.

    Args:
        search: PATH: where `#!/usr/bin/env NAME` looks.

    Raises:
        OSError: The file, or an interpreter, cannot be read; its `filename` says which.
    """
    files: list[str] = []
    for _ in range(MAX_INTERPRETERS):
        files.append(path)
        with open(path, "rb") as file:
            facts = os.fstat(file.fileno())
            head = file.read(HEAD_BYTES)
            kind = kind_of(head)
            if kind is Kind.DYNAMIC and _is_bun(file, head):
                kind = Kind.BUN
        if kind is not Kind.SCRIPT:
            return Program(Kind.SET_ID if kind is Kind.DYNAMIC and _changes_rights(path, facts) else kind, tuple(files))
        words = script_words(head)
        if not words:
            return Program(Kind.TEXT, tuple(files))
        path = words[0]
        if os.path.basename(path) == "env" and len(words) > 1 and (named := _named_to_env(words[1], search)):
            files.append(path)
            path = named
    return Program(Kind.UNKNOWN, tuple(files))


def _kind_by_segments(head: bytes) -> Kind:
    offset, size, count = *struct.unpack_from("<Q", head, 32), *struct.unpack_from("<HH", head, 54)
    interpreter = b""
    for number in range(count):
        at = offset + number * size
        if at + 56 > len(head):
            break
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", head, at)
        content = head[start : start + length]
        if kind == _PT_INTERP:
            interpreter = content.rstrip(b"\0")
        elif kind == _PT_NOTE and b"Go\0\0" in content:
            # Go makes its own system calls, even where it is linked dynamically.
            return Kind.GO
    if not interpreter:
        return Kind.STATIC
    return Kind.MUSL if b"/ld-musl" in interpreter else Kind.DYNAMIC


def _is_bun(file: BinaryIO, head: bytes) -> bool:
    """Whether it has sections of Bun's, as what `bun build --compile` makes has too (elf(5), Elf64_Shdr)."""
    (at,), (size, _, index) = struct.unpack_from("<Q", head, 40), struct.unpack_from("<HHH", head, 58)
    if at < LEAST_BUN_BYTES:
        return False
    header = os.pread(file.fileno(), 64, at + size * index)
    if len(header) < 64:
        return False
    offset, length = struct.unpack_from("<QQ", header, 24)
    return b".bun" in os.pread(file.fileno(), min(length, _SECTION_NAMES), offset)


def _changes_rights(path: str, facts: os.stat_result) -> bool:
    """Whether the program gets other rights than ours: then ld.so ignores LD_PRELOAD."""
    if facts.st_mode & stat.S_ISUID and facts.st_uid != os.getuid():
        return True
    # Without the group's x bit, S_ISGID is no set-group-id (inode(7)).
    if facts.st_mode & stat.S_ISGID and facts.st_mode & stat.S_IXGRP and facts.st_gid != os.getgid():
        return True
    if os.getuid() == 0:
        return False  # root has its capabilities anyway (capabilities(7))
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False


def _named_to_env(argument: str, search: str) -> str | None:
    """Return the program that `env ARGUMENT` runs; None where that is not plain."""
    words = argument.removeprefix("-S").split()
    names = [word for word in words if "=" not in word]
    if not names or names[0].startswith("-"):
        return None
    return shutil.which(names[0], path=search)
