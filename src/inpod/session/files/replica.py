"""The replica: a tree in the session's folder that mirrors the pod's root, filled entry by entry.

What is not complete yet carries MARK as its access time: a file whose content is missing (sparse, of the right size), a
directory whose members are not all there. The layer looks for the mark before it trusts what it opened
(native/layer `ops/files`). Content is written in place, so that a file keeps its inode from its first stat on.

The agent's answers are not trusted with paths: every step below the root is opened without following links.
"""

import contextlib
import errno
import os
import stat
import time
from pathlib import Path

from inpod.protocol.agent import Entry

MARK_NS = 1_000_000_001
"""Access time of what is not complete: one second and one nanosecond after the epoch."""

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Replica:
    """Owns `root`, which must be an empty folder."""

    def __init__(self, root: Path) -> None:
        self._root_path = os.fsencode(root)
        self._root = os.open(root, _DIR)
        os.utime(self._root, ns=(MARK_NS, MARK_NS))

    def close(self) -> None:
        """Close the root; the tree is removed with the session's folder."""
        os.close(self._root)

    def put(self, entries: list[tuple[Entry, bytes | None]]) -> None:
        """Make what the entries say. What is complete already stays as it is.

        Raises:
            OSError: No room, or a path that cannot be.
        """
        listed: list[tuple[Entry, int]] = []
        try:
            for entry, content in entries:
                if entry.kind == "missing":
                    continue
                with self._parent(entry.path) as (parent, name):
                    if entry.kind == "dir":
                        fd = _make_dir(parent, name, entry)
                        if entry.is_listed:
                            listed.append((entry, fd))
                        else:
                            os.close(fd)
                    elif entry.kind == "link":
                        self._make_link(parent, name, entry)
                    elif entry.kind == "file":
                        _make_file(parent, name, entry, content)
                    else:
                        _make_other(parent, name, entry)
            # Last, as members change a directory's times, and its mark may go only when they are there.
            for entry, fd in listed:
                os.utime(fd, ns=(time.time_ns(), entry.mtime_ns))
        finally:
            for _, fd in listed:
                os.close(fd)

    def begin_file(self, entry: Entry) -> int:
        """Return a descriptor to write the content of a large file into; `finish_file` makes it complete."""
        with self._parent(entry.path) as (parent, name):
            _make_file(parent, name, entry, None)
            return os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)

    def is_complete(self, path: str) -> bool:
        """Return whether a path needs no more from the pod."""
        try:
            with self._parent(path) as (parent, name):
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError:
            return False
        return found.st_atime_ns != MARK_NS

    def _make_link(self, parent: int, name: str, entry: Entry) -> None:
        target = os.fsencode(entry.target)
        if target.startswith(b"/"):
            target = self._root_path + target
        with contextlib.suppress(FileExistsError):
            os.symlink(target, os.fsencode(name), dir_fd=parent)

    def _parent(self, path: str) -> "_Parent":
        return _Parent(self._root, path)


def finish_file(fd: int, entry: Entry, size: int) -> None:
    """Make a file complete: `size` bytes were written to it."""
    os.ftruncate(fd, size)
    os.utime(fd, ns=(time.time_ns(), entry.mtime_ns))


class _Parent:
    """The parent directory of a path, opened step by step, and the last name ("." for the root)."""

    def __init__(self, root: int, path: str) -> None:
        self._steps = [step for step in path.split("/") if step]
        if not path.startswith("/") or any(step in (".", "..") or "\0" in step for step in self._steps):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._fd = os.dup(root)

    def __enter__(self) -> tuple[int, str]:
        if not self._steps:
            return self._fd, "."
        try:
            for step in self._steps[:-1]:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(step, 0o700, dir_fd=self._fd)
                    os.utime(step, ns=(MARK_NS, MARK_NS), dir_fd=self._fd)
                inner = os.open(step, _DIR, dir_fd=self._fd)
                os.close(self._fd)
                self._fd = inner
        except BaseException:
            os.close(self._fd)
            raise
        return self._fd, self._steps[-1]

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)


def _make_dir(parent: int, name: str, entry: Entry) -> int:
    """Make a directory, and return it opened. Our own rights are added: we fill it."""
    is_new = False
    if name != ".":
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            is_new = True
        except FileExistsError:
            pass
    fd = os.open(name, _DIR, dir_fd=parent)
    os.fchmod(fd, stat.S_IMODE(entry.mode) | 0o700)
    if is_new or os.fstat(fd).st_atime_ns == MARK_NS:
        os.utime(fd, ns=(MARK_NS, entry.mtime_ns))
    return fd


def _make_file(parent: int, name: str, entry: Entry, content: bytes | None) -> None:
    """Make a file, complete when `content` is given."""
    flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=parent)
    except FileExistsError:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if content is None or found.st_atime_ns != MARK_NS:
            return
        fd = os.open(name, flags, dir_fd=parent)
    try:
        os.ftruncate(fd, entry.size if content is None else len(content))
        at = 0
        while content is not None and at < len(content):
            at += os.pwrite(fd, memoryview(content)[at:], at)
        os.fchmod(fd, stat.S_IMODE(entry.mode) | 0o600)
        os.utime(fd, ns=(MARK_NS if content is None else time.time_ns(), entry.mtime_ns))
    finally:
        os.close(fd)


def _make_other(parent: int, name: str, entry: Entry) -> None:
    """Make a pipe or a socket, for stat; devices are not made."""
    kind = stat.S_IFMT(entry.mode)
    if kind in (stat.S_IFIFO, stat.S_IFSOCK):
        with contextlib.suppress(FileExistsError):
            os.mknod(name, kind | stat.S_IMODE(entry.mode), dir_fd=parent)
