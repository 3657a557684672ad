"""One member of the replica: its name, its content, and the mark of what is not complete."""

import contextlib
import errno
import os
import posixpath
import stat
import time

from inpod.protocol.listing import Entry, path_bytes

MARK_NS = 1_000_000_001
"""Access time of what is not complete: one second and one nanosecond after the epoch."""

WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def split(entry: Entry) -> tuple[bytes, bytes]:
    """Return parent and name of an absolute path; of the root both are empty.

    Raises:
        OSError: It is not absolute.
    """
    parent, slash, name = path_bytes(entry.path).rpartition(b"/")
    if not slash or (parent and not parent.startswith(b"/")):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return parent, name


def checked(name: bytes) -> bytes:
    """Return `name`.

    Raises:
        OSError: It is no name of a directory's member.
    """
    if name in (b"", b".", b"..") or b"\0" in name or b"/" in name:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return name


def make_file(folder: int, name: bytes, entry: Entry, content: bytes | None) -> None:
    """Make a file with its content, or only its size and the mark; nothing when the name is there already."""
    try:
        fd = os.open(name, WRITE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
    except FileExistsError:
        return  # a listing that was read while the directory changed may name a member twice
    try:
        fill(fd, entry, content, is_new=True)
    finally:
        os.close(fd)


def fill(fd: int, entry: Entry, content: bytes | None, *, is_new: bool) -> None:
    """Give a file its content, or only its size and the mark."""
    if content is None:
        # A size that no file can have here (of a pseudo file system) is no reason to fail.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, entry.size)
    else:
        write_at(fd, content, 0)
        if not is_new:
            os.ftruncate(fd, len(content))
    # Our own rights are added: we fill it.
    os.fchmod(fd, stat.S_IMODE(entry.mode) | 0o600)
    os.utime(fd, ns=(MARK_NS if content is None else time.time_ns(), entry.mtime_ns))


def finish_file(fd: int, entry: Entry, size: int) -> None:
    """Make a file complete: `size` bytes were written to it."""
    os.ftruncate(fd, size)
    os.utime(fd, ns=(time.time_ns(), entry.mtime_ns))


def write_at(fd: int, data: bytes, at: int) -> None:
    """Write all of `data`.

    Raises:
        OSError: As write(2), for instance no room.
    """
    written = os.pwrite(fd, data, at)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], at + written)


def link_text(root: bytes, path: bytes, target: bytes) -> bytes:
    """Return the text of a link that leads, in a replica at `root`, where `target` leads in the pod.

    A relative text stays as it is where its steps up come first and stay below the root. Else it is resolved by text:
    "name/.." could lead anywhere, and above the pod's root is only the pod's root.
    """
    folder = path.rpartition(b"/")[0]
    if not target.startswith(b"/"):
        steps = [step for step in target.split(b"/") if step not in (b"", b".")]
        up = next((i for i, step in enumerate(steps) if step != b".."), len(steps))
        if up <= folder.count(b"/") and b".." not in steps[up:]:
            return target
    return root + b"/" + posixpath.normpath(posixpath.join(folder or b"/", target)).lstrip(b"/")
