"""The replica: a tree in the session's folder that mirrors the pod's root, filled entry by entry.

What is not complete yet carries MARK as its access time: a file whose content is missing (sparse, of the right size), a
directory whose members are not all there. The layer looks for the mark before it trusts what it opened
(native/layer `ops/files`), so nothing may be seen half made: what is new is made in a folder beside, and moved to its
place; content is written into a marked file in place, so that a file keeps its inode from its first stat on.

The agent's answers are not trusted with paths: every step below the root is opened without following links, and no link
leads out of the replica.
"""

import itertools
import os
import stat
import time
from pathlib import Path

from inpod.protocol.listing import Entry, Found, path_bytes
from inpod.session.files.filling import DIRECTORY, Filling
from inpod.session.files.members import MARK_NS, WRITE, checked, fill, link_text, make_file, split


class Replica:
    """Owns `root`, which must be an empty folder, and a folder beside it."""

    def __init__(self, root: Path) -> None:
        self._root_path = os.fsencode(root)
        self._root = os.open(root, DIRECTORY)
        os.utime(self._root, ns=(MARK_NS, MARK_NS))
        coming = root.with_name("coming")
        coming.mkdir(0o700)
        self._coming = os.open(coming, DIRECTORY)
        self._numbers = itertools.count()

    def close(self) -> None:
        """Close what is open; the tree is removed with the session's folder."""
        os.close(self._root)
        os.close(self._coming)

    def put(self, entries: Found) -> None:
        """Make what the entries say. What is complete already stays as it is.

        Raises:
            OSError: No room, or a path that cannot be.
        """
        with self.filling() as filling:
            filling.put(entries)
            filling.finish()

    def filling(self) -> Filling:
        """Return what makes entries that come bit by bit."""
        return Filling(self, self._root)

    def renew(self, entry: Entry) -> None:
        """Make what the entry says in the place of what is there; a file's content is asked for anew.

        Nothing happens where the folder is not there yet. Who has the old file open keeps it.

        Raises:
            OSError: No room, or a path that cannot be.
        """
        parent, name = split(entry)
        folder = self._existing(parent)
        if folder < 0 or not name:
            return
        try:
            try:
                is_folder = stat.S_ISDIR(os.stat(checked(name), dir_fd=folder, follow_symlinks=False).st_mode)
                is_there = True
            except FileNotFoundError:
                is_folder = is_there = False
            if is_folder and entry.kind == "dir":
                return
            made = self._make_beside(entry)
            if is_there and (not made or is_folder or entry.kind == "dir"):
                # Not removed: a program may stand in it.
                os.rename(name, self._next(), src_dir_fd=folder, dst_dir_fd=self._coming)
            if made:
                # Moved over the old one, but for a folder: at no time is there none.
                self.show(made, folder, name)
        finally:
            os.close(folder)

    def begin_file(self, entry: Entry) -> int:
        """Return a descriptor to write the content of a large file into; `finish_file` makes it complete."""
        parent, name = split(entry)
        with self.filling() as filling:
            folder = filling.open(parent)
            self.make_member(folder, checked(name), entry, None)
            return os.open(name, WRITE, dir_fd=folder)

    def is_there(self, path: bytes) -> bool:
        """Return whether there is anything at `path`, complete or not."""
        return os.path.lexists(self._root_path + path)

    def is_plain_and_complete(self, path: bytes) -> bool:
        """Return whether `path` is a file or directory, no link, that needs no more from the pod."""
        try:
            # Links on the way are followed: those of a replica lead nowhere else.
            found = os.stat(self._root_path + path, follow_symlinks=False)
        except OSError:
            return False
        return found.st_atime_ns != MARK_NS and not stat.S_ISLNK(found.st_mode)

    def make_folder(self) -> tuple[bytes, int]:
        """Make a directory, marked, beside the replica; return its name for `show`, and a descriptor."""
        number = self._next()
        os.mkdir(number, 0o700, dir_fd=self._coming)
        fd = os.open(number, DIRECTORY, dir_fd=self._coming)
        os.utime(fd, ns=(MARK_NS, MARK_NS))
        return number, fd

    def show(self, number: bytes, parent: int, name: bytes) -> None:
        """Move what was made beside to its place."""
        os.rename(number, name, src_dir_fd=self._coming, dst_dir_fd=parent)

    def _existing(self, path: bytes) -> int:
        """Return a descriptor of a folder, -1 when it is not there; the caller closes it."""
        at = os.dup(self._root)
        for name in path.split(b"/")[1:]:
            before = at
            try:
                at = os.open(checked(name), DIRECTORY, dir_fd=before)
            except OSError:
                return -1
            finally:
                os.close(before)
        return at

    def _make_beside(self, entry: Entry) -> bytes:
        """Make what the entry says, marked where it can be; return its name for `show`, b"" for nothing."""
        if entry.kind == "dir":
            number, fd = self.make_folder()
            os.close(fd)
            return number
        number = self._next()
        self.make_member(self._coming, number, entry, None)
        return number if os.access(number, os.F_OK, dir_fd=self._coming, follow_symlinks=False) else b""

    def make_member(self, parent: int, name: bytes, entry: Entry, content: bytes | None) -> None:
        """Make what the entry says in the folder `parent`, whether something is there already or not.

        Raises:
            OSError: No room.
        """
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            found = None
        if entry.kind == "file":
            if found is None:
                number = self._next()
                make_file(self._coming, number, entry, content)
                self.show(number, parent, name)
            elif content is not None and found.st_atime_ns == MARK_NS and stat.S_ISREG(found.st_mode):
                fd = os.open(name, WRITE, dir_fd=parent)
                try:
                    fill(fd, entry, content, is_new=False)
                finally:
                    os.close(fd)
        elif found is not None:
            return
        elif entry.kind == "link":
            os.symlink(
                link_text(self._root_path, path_bytes(entry.path), path_bytes(entry.target)), name, dir_fd=parent
            )
            os.utime(name, ns=(time.time_ns(), entry.mtime_ns), dir_fd=parent, follow_symlinks=False)
        elif stat.S_IFMT(entry.mode) in (stat.S_IFIFO, stat.S_IFSOCK):
            # For stat. Devices are not made.
            os.mknod(name, stat.S_IFMT(entry.mode) | stat.S_IMODE(entry.mode), dir_fd=parent)

    def _next(self) -> bytes:
        return b"%d" % next(self._numbers)
