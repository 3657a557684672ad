"""Which kind of program a file is: can the layer reach it? (elf(5), execve(2))."""

import os
import struct
from enum import Enum

HEAD_BYTES = 64 * 1024
"""Enough for the headers and notes of every linker's output seen."""

MAX_INTERPRETERS = 4
"""As the kernel: a script's interpreter may be a script itself."""

_PT_INTERP, _PT_NOTE = 3, 4


class Kind(Enum):
    """What the layer would find. The values are for people."""

    DYNAMIC = "dynamic"
    STATIC = "static"
    GO = "Go"
    MUSL = "musl"
    BITS_32 = "32-bit"
    SET_ID = "set-id"
    UNKNOWN = "unknown"
    """No ELF file and no script: the kernel will say what is wrong with it."""


def kind_of(head: bytes) -> Kind | str:
    """Return the kind of the program whose file begins with `head`; for a script, its interpreter's path."""
    if head.startswith(b"#!"):
        words = head[2:].split(b"\n", 1)[0].split()
        return os.fsdecode(words[0]) if words else Kind.UNKNOWN
    if not head.startswith(b"\x7fELF") or len(head) < 64:
        return Kind.UNKNOWN
    if head[4] != 2:
        return Kind.BITS_32
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
        elif kind == _PT_NOTE and b"Go\0" in content:
            # Go makes its own system calls, even where it is linked dynamically.
            return Kind.GO
    if not interpreter:
        return Kind.STATIC
    return Kind.MUSL if b"ld-musl" in interpreter else Kind.DYNAMIC


def program_kind(path: str) -> Kind:
    """Return the kind of the program at `path`, of a script that of its interpreter.

    Raises:
        OSError: A file cannot be read.
    """
    for _ in range(MAX_INTERPRETERS):
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno())
            head = file.read(HEAD_BYTES)
        found = kind_of(head)
        if isinstance(found, Kind):
            is_set_id = mode.st_mode & 0o4000 and mode.st_uid != os.getuid()
            return Kind.SET_ID if is_set_id and found is Kind.DYNAMIC else found
        path = found
    return Kind.UNKNOWN
