"""bpf(2) by ctypes: maps, programs and links. Each lives as long as its descriptor, which exec closes."""

import ctypes
import errno
import os
import struct
from enum import IntEnum
from functools import cache

MAP_TYPE_HASH = 1
MAP_TYPE_ARRAY = 2
MAP_TYPE_SOCKHASH = 18

_NO_PREALLOC = 1
"""Memory of a hash is taken as entries come."""

_SYSTEM_CALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
"""By machine. All are little-endian: the instructions of `assembler` are written that way."""

_ATTR_BYTES = 128
_KEY_ONLY = 16
"""Bytes of what names an entry: the map's descriptor and the key's address."""

_LOG_BYTES = 64 * 1024
_LOG_TAIL = 2000
"""Characters of the verifier's log that an error repeats: its end names the fault."""

_system_call = ctypes.CDLL(None, use_errno=True).syscall
_system_call.restype = ctypes.c_long
_system_call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


class Command(IntEnum):
    """Commands of bpf(2)."""

    MAP_CREATE = 0
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    PROG_LOAD = 5
    LINK_CREATE = 28


_PUT, _REMOVE = int(Command.MAP_UPDATE_ELEM), int(Command.MAP_DELETE_ELEM)


@cache
def _number() -> int | None:
    return _SYSTEM_CALL.get(os.uname().machine)


Attr = ctypes.Array[ctypes.c_char]
"""What a command is told, padded with zeros."""


def attr_of(fields: bytes) -> Attr:
    """Return what a command is told."""
    return ctypes.create_string_buffer(fields, _ATTR_BYTES)


def call(command: int, attr: Attr) -> int:
    """Make the system call; return its result.

    Raises:
        OSError: As bpf(2); ENOSYS on a machine whose call number is not known here.
    """
    number = _number()
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) is not known on {os.uname().machine}")
    result: int = _system_call(number, command, attr, _ATTR_BYTES)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Map:
    """A map with keys and values of fixed size."""

    def __init__(self, kind: int, key_bytes: int, value_bytes: int, max_entries: int) -> None:
        flags = _NO_PREALLOC if kind == MAP_TYPE_HASH else 0
        # Two of these are made for each connection to the original: what they point to is kept.
        self._key = ctypes.create_string_buffer(key_bytes)
        self._value = ctypes.create_string_buffer(value_bytes)
        self.fd = call(
            Command.MAP_CREATE, attr_of(struct.pack("=IIIII", kind, key_bytes, value_bytes, max_entries, flags))
        )
        addresses = ctypes.addressof(self._key), ctypes.addressof(self._value)
        entry = struct.pack("=IxxxxQQQ", self.fd, *addresses, 0)
        self._put, self._removal = attr_of(entry), attr_of(entry[:_KEY_ONLY])

    def set(self, key: bytes, value: bytes) -> None:
        """Put `value` under `key`.

        Raises:
            OSError: E2BIG when the map is full.
        """
        self._key.raw, self._value.raw = key, value
        call(_PUT, self._put)

    def delete(self, key: bytes) -> None:
        """Remove `key` if it is there."""
        self._key.raw = key
        try:
            call(_REMOVE, self._removal)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise

    def close(self) -> None:
        """Drop this reference; the map is gone with the last."""
        os.close(self.fd)


def load_program(kind: int, attach_kind: int, instructions: bytes, *, name: str, licence: str) -> int:
    """Have the kernel verify and take a program; return its descriptor.

    Raises:
        OSError: As bpf(2); when the verifier objects, with the end of its log.
    """
    try:
        return _load(kind, attach_kind, instructions, name, licence, None)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):
            raise
    log = ctypes.create_string_buffer(_LOG_BYTES)
    try:
        return _load(kind, attach_kind, instructions, name, licence, log)
    except OSError as error:
        if said := log.value.decode(errors="replace").strip():
            raise OSError(error.errno, f"the verifier refused '{name}': {said[-_LOG_TAIL:]}") from None
        raise


def create_link(program: int, target: int, attach_kind: int) -> int:
    """Attach a program to `target` (for sk_lookup a network namespace); return the link's descriptor.

    Raises:
        OSError: As bpf(2).
    """
    return call(Command.LINK_CREATE, attr_of(struct.pack("=IIII", program, target, attach_kind, 0)))


def _load(
    kind: int,
    attach_kind: int,
    instructions: bytes,
    name: str,
    licence: str,
    log: "ctypes.Array[ctypes.c_char] | None",
) -> int:
    held_code = ctypes.create_string_buffer(instructions, len(instructions))
    held_licence = ctypes.create_string_buffer(licence.encode())
    log_fields = (0, 0, 0) if log is None else (1, _LOG_BYTES, ctypes.addressof(log))
    attr = struct.pack(
        "=IIQQIIQII16sII",
        kind,
        len(instructions) // 8,
        ctypes.addressof(held_code),
        ctypes.addressof(held_licence),
        *log_fields,
        0,
        0,
        name.encode()[:15],
        0,
        attach_kind,
    )
    return call(Command.PROG_LOAD, attr_of(attr))
