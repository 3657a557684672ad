"""Entries of the pod that come into a replica, in one piece or bit by bit."""

import os
import stat
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from inpod.protocol.listing import Entry, Found
from inpod.session.files.members import MARK_NS, checked, make_file, split

if TYPE_CHECKING:
    from inpod.session.files.replica import Replica

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Overtaken(Exception):
    """A folder that was to come with all its members is there by now: what they are has to be asked once more."""


class Filling:
    """Makes what entries say. What is complete already stays as it is.

    A folder that is new and comes with all its members stays beside the replica until `finish`. Directories that are not
    there are made, marked. Those on the way, which come first, are held open, each once; of those that are members, of
    which there may be more than descriptors, only those of one `put`.
    """

    def __init__(self, replica: "Replica", root: int) -> None:
        self._replica = replica
        self._root = root
        self._open: dict[bytes, int] = {b"": root}
        self._knows_way = False
        self._coming: dict[bytes, tuple[bytes, int, bytes]] = {}
        self._folders: list[tuple[Entry, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._open.values():
            if fd != self._root:
                os.close(fd)

    def put(self, entries: Found) -> None:
        """Make some of the entries; a directory before its members.

        Raises:
            OSError: No room, or a path that cannot be.
        """
        known, members = len(self._open), list[tuple[Entry, int]]()
        for entry, content in entries:
            if entry.kind == "missing":
                continue
            parent, name = split(entry)
            if entry.kind == "dir":
                fd = self.open(parent + b"/" + name if name else b"", is_whole=entry.is_listed)
                _set_mode(fd, stat.S_IMODE(entry.mode) | 0o700)
                is_done = self._knows_way and not entry.is_listed
                (members if is_done else self._folders).append((entry, fd))
                continue
            folder = self.open(parent)
            if entry.kind == "file" and parent in self._coming:
                # Nobody sees it yet: no need to look, to make it beside, and to move it.
                make_file(folder, checked(name), entry, content)
            else:
                self._replica.make_member(folder, checked(name), entry, content)
        if self._knows_way:
            _settle(members)
            self._close_since(known)
        self._knows_way = True

    def finish(self) -> None:
        """Put the new folders with all their members into their places.

        Raises:
            Overtaken: Somebody else made one meanwhile.
            OSError: They cannot be moved.
        """
        for number, parent, name in self._coming.values():
            if _is_there(parent, name):
                raise Overtaken
            self._replica.show(number, parent, name)
        # Last: members change a directory's times, and its mark may go only when they are there.
        _settle(self._folders)

    def open(self, path: bytes, *, is_whole: bool = False) -> int:
        """Return a descriptor of `path`, "" the root, that is closed at the end.

        Args:
            is_whole: When it is new, it stays beside the replica until `finish`: all its members will be there at once.

        Raises:
            OSError: A step is no directory here, or no name.
        """
        if path in self._open:
            return self._open[path]
        before, _, name = path.rpartition(b"/")
        parent = self.open(before)
        try:
            fd = self._open[path] = os.open(checked(name), DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            number, fd = self._replica.make_folder()
            self._open[path] = fd
            if is_whole:
                self._coming[path] = (number, parent, name)
            else:
                self._replica.show(number, parent, name)
        return fd

    def _close_since(self, known: int) -> None:
        """Close the directories that were opened after so many, but for those that `finish` needs."""
        needed = {fd for _, fd in self._folders} | {parent for _, parent, _ in self._coming.values()}
        for path in list(self._open)[known:]:
            if self._open[path] not in needed:
                os.close(self._open.pop(path))


def _settle(folders: list[tuple[Entry, int]]) -> None:
    """Give directories their times, and those that are complete no mark.

    What is so already is not touched: its ctime would change, and tar(1) tells by that of a folder that changed while it read.
    """
    for entry, fd in folders:
        found = os.fstat(fd)
        was_marked = found.st_atime_ns == MARK_NS
        is_marked = was_marked and not entry.is_listed
        if found.st_mtime_ns != entry.mtime_ns or was_marked != is_marked:
            os.utime(fd, ns=(MARK_NS if is_marked else time.time_ns(), entry.mtime_ns))


def _set_mode(fd: int, mode: int) -> None:
    """Give a directory its mode, where it has another (`_settle`)."""
    if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
        os.fchmod(fd, mode)


def _is_there(parent: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
