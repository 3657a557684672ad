"""Reads the members of a directory of the target. Blocking: for worker threads.

The directory tells what kinds they are, so regular files, of which there may be thousands, are opened for reading at once.
"""

import errno
import os
import stat
from itertools import islice

from inpod.agent.files.contents import READ, content_behind, small_content, with_content
from inpod.agent.files.walk import entry_of
from inpod.agent.namespaces import is_pseudo_file_system
from inpod.protocol.listing import LISTING_BUDGET, SMALL_FILE, Entry, encode_entries, path_text

MAX_MEMBERS = 50_000
"""Members of a directory that one answer names; a directory with more is not `is_listed`."""

BLOCK_MEMBERS = 128
"""In one block: the session fills its replica with them while the next ones are read."""


class Members:
    """The members of a directory, block by block. Not for several threads at once.

    Attributes:
        is_complete: They are all members.
    """

    def __init__(self, path_fd: int, path: bytes) -> None:
        """Read their names.

        Args:
            path_fd: Holds the directory (O_PATH).
            path: Of the directory.

        Raises:
            OSError: As open(2) and getdents(2).
        """
        self._fd = -1
        self._fd = os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._path = path.rstrip(b"/") + b"/"
        with os.scandir(self._fd) as members:
            # Their kinds come with their names (getdents(2)).
            found = [(os.fsencode(member.name), _is_file(member)) for member in islice(members, MAX_MEMBERS + 1)]
        # Reading a pseudo file may have effects, so it has to be asked for: nothing fits in this budget.
        self._budget = -1 if is_pseudo_file_system(self._fd) else LISTING_BUDGET
        self.is_complete = len(found) <= MAX_MEMBERS
        self._left = iter(found[:MAX_MEMBERS])

    def read(self) -> bytes:
        """Return the next block; empty at the end."""
        entries: list[Entry] = []
        contents: list[bytes] = []
        for name, is_file in self._left:
            path = self._path + name
            try:
                entry, content = self._member(name, path, is_file=is_file)
            except FileNotFoundError:
                continue
            except OSError as error:
                entry, content = Entry(path_text(path), "missing", errno=error.errno or errno.EIO), None
            entries.append(entry)
            if content is not None:
                contents.append(content)
                self._budget -= len(content)
            if len(entries) == BLOCK_MEMBERS:
                break
        return encode_entries(entries, contents) if entries else b""

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close  # whoever gives up may not close it while a thread reads

    def _member(self, name: bytes, path: bytes, *, is_file: bool) -> tuple[Entry, bytes | None]:
        fd = self._open(name) if is_file and self._budget > 0 else -1
        is_readable = fd >= 0
        if not is_readable:
            fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            attributes = os.fstat(fd)
            target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(attributes.st_mode) else b""
            entry = entry_of(path, attributes, target)
            if entry.kind != "file" or entry.size > min(self._budget, SMALL_FILE):
                return entry, None
            try:
                content = small_content(fd, entry.size) if is_readable else content_behind(fd, entry.size)
            except OSError:
                # Unreadable, which the session hears when it asks for the content.
                content = None
            if content is None or len(content) > self._budget:
                return entry, None
            return with_content(entry, content), content
        finally:
            os.close(fd)

    def _open(self, name: bytes) -> int:
        """Return a descriptor of what was a regular file a moment ago; -1 when it cannot be read."""
        try:
            return os.open(name, READ | os.O_NOFOLLOW, dir_fd=self._fd)
        except OSError:
            return -1


def _is_file(member: "os.DirEntry[str]") -> bool:
    """Return whether a member is a regular file; what cannot be known is none: some file systems tell no kinds."""
    try:
        return member.is_file(follow_symlinks=False)
    except OSError:
        return False
