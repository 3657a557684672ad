"""Kernel calls about namespaces and anchored paths that Python 3.11 lacks.

`setns` and `unshare` act on the calling thread (setns(2)): join before any other thread starts, and later threads
inherit the namespaces. The calls release the interpreter lock, as ctypes does for every foreign function.
"""

import ctypes
import fcntl
import os
import struct

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWNET = 0x4000_0000

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437
"""The same on every architecture (openat2(2))."""

_NS_GET_USERNS = 0xB701
"""ioctl_ns(2)"""

_OPEN_HOW = struct.Struct("=QQQ")
_STATFS_BYTES = 256
"""More than any architecture's struct statfs; its first word is the type."""

_PSEUDO_FILE_SYSTEMS = frozenset(
    {
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0x0027E0EB,  # cgroup
        0x63677270,  # cgroup2
        0xCAFE4A11,  # bpf
        0x6165676C,  # pstore
        0x62656570,  # configfs
        0xF97CFF8C,  # selinuxfs
        0xDE5E81E4,  # efivarfs
        0x19800202,  # mqueue
    }
)
"""Sources: linux/magic.h. Their files are made up while they are read, and their sizes say nothing."""

_libc = ctypes.CDLL(None, use_errno=True)
_openat2 = _libc["syscall"]
_openat2.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
"""Told once: to wrap each argument of each call takes longer than the call."""


def setns(fd: int, kind: int) -> None:
    """Move this thread into the namespace that `fd` refers to; `kind` is a CLONE_NEW constant.

    Raises:
        OSError: EPERM without the right, EINVAL when `fd` is a namespace of another kind.
    """
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)))


def unshare(kinds: int) -> None:
    """Move this thread into fresh namespaces of the given `kinds`."""
    _check(_libc.unshare(ctypes.c_int(kinds)))


def owner(fd: int) -> int:
    """Return a descriptor of the user namespace that owns the namespace `fd`.

    Raises:
        OSError: EPERM when that lies outside of this process's own.
    """
    return fcntl.ioctl(fd, _NS_GET_USERNS)


def open_in_root(root: int, path: bytes, flags: int) -> int:
    """Open `path` as if the directory `root` were `/`: neither `..` nor any link leads out of it. Close-on-exec.

    Links of /proc that are no paths (magic links) are refused with ELOOP.

    Raises:
        OSError: As open(2).
    """
    how = _OPEN_HOW.pack(flags | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    return _check(_openat2(_SYS_OPENAT2, root, path, how, len(how)))


def is_pseudo_file_system(fd: int) -> bool:
    """Return whether `fd` lies on proc, sysfs or the like.

    Raises:
        OSError: As fstatfs(2).
    """
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    _check(_libc.fstatfs(ctypes.c_int(fd), buffer))
    # A long or, on s390x, an unsigned int; both read as the native unsigned int that the magic numbers fit in.
    kind = struct.unpack_from("@L", buffer.raw)[0] & 0xFFFF_FFFF
    return kind in _PSEUDO_FILE_SYSTEMS


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(result)
