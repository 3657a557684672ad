"""Reads files and directories of the target. Blocking: for worker threads.

Nothing is opened for reading before its kind is known: opening a pipe wakes its writer, opening a device may do
anything. So a path is first held by an O_PATH descriptor, looked at, and then opened again through /proc/self/fd.
"""

import errno
import os
import stat
from collections.abc import Callable
from itertools import islice

from inpod.agent.files.walk import entry_of, walk
from inpod.agent.namespaces import is_pseudo_file_system
from inpod.protocol.agent import LookUp
from inpod.protocol.listing import LISTING_BUDGET, SMALL_FILE, Entry, encode_entries, path_bytes, path_text

MAX_MEMBERS = 50_000
"""Members of a directory that one answer names; a directory with more is not `is_listed`."""

MAX_PSEUDO_BYTES = 16 * 1024 * 1024
"""Most that is read of a file whose size says nothing."""

CHUNK_BYTES = 256 * 1024


def look_up(root: int, request: LookUp, watch: Callable[[list[Entry]], bool] = lambda _: False) -> bytes:
    """Return the answer to a `LookUp`. Failures of the target's files are entries of it, not exceptions.

    Args:
        watch: Watches the folders of entries; true when what was seen of them may have changed before it did.
    """
    path = path_bytes(request.path)
    found = walk(root, path, is_last_followed=request.want != "lstat")
    if watch(found.entries):
        if found.fd >= 0:
            os.close(found.fd)
        found = walk(root, path, is_last_followed=request.want != "lstat")
    if found.fd < 0:
        return encode_entries(found.entries, [])
    contents: list[bytes] = []
    last = found.entries[-1]
    try:
        if request.want == "read" and last.kind == "file":
            content = _small_content(found.fd, last.size)
            if content is not None:
                contents.append(content)
                found.entries[-1] = _with_content(last, content)
        elif request.want == "list" and last.kind == "dir":
            members, contents, is_complete = _list(found.fd, found.path)
            found.entries[-1] = last._replace(is_listed=is_complete)
            found.entries += members
    except OSError as error:
        found.entries[-1] = Entry(last.path, "missing", errno=error.errno or errno.EIO)
    finally:
        os.close(found.fd)
    return encode_entries(found.entries, contents)


class FileReader:
    """A regular file that is being read, chunk by chunk. Not for several threads at once."""

    def __init__(self, root: int, path: bytes) -> None:
        """Open the file, links followed.

        Raises:
            OSError: It is missing, EISDIR for a directory, ENXIO for a pipe, socket or device.
        """
        found = walk(root, path, is_last_followed=True)
        if found.fd < 0:
            raise OSError(found.entries[-1].errno, os.strerror(found.entries[-1].errno))
        try:
            self._file = open(_reopen(found.fd), "rb", buffering=0)  # noqa: SIM115  # `close` closes it
        finally:
            os.close(found.fd)
        self._left = os.fstat(self._file.fileno()).st_size
        if is_pseudo_file_system(self._file.fileno()):
            self._left = MAX_PSEUDO_BYTES

    def read(self) -> bytes:
        """Return the next chunk; empty at the end.

        The end is where the file ended when it was opened: what others append meanwhile is left out, and what they cut
        off is missing, so that the answer holds only bytes that were there.

        Raises:
            OSError: As read(2).
        """
        if self._left <= 0:
            return b""
        # None is a pseudo file with nothing to say for the moment, such as /proc/kmsg.
        chunk = self._file.read(min(CHUNK_BYTES, self._left)) or b""
        self._left = self._left - len(chunk) if chunk else 0
        return chunk

    def close(self) -> None:
        self._file.close()


def _reopen(path_fd: int) -> int:
    """Return a descriptor for reading of the regular file that an O_PATH descriptor holds.

    Raises:
        OSError: EISDIR for a directory, ENXIO for what else is no regular file, or as open(2).
    """
    mode = os.fstat(path_fd).st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    return _open_again(path_fd)


def _open_again(path_fd: int) -> int:
    return os.open(f"/proc/self/fd/{path_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _small_content(path_fd: int, size: int) -> bytes | None:
    """Return the whole content of a regular file that `path_fd` holds when it is small, else None.

    Args:
        size: What fstat(2) says of it; pseudo files have more, and a file may grow.

    Raises:
        OSError: As open(2) and read(2).
    """
    if size > SMALL_FILE:
        return None
    fd, content = _open_again(path_fd), b""
    try:
        content = os.read(fd, size + 1)
        # A file that ends where it should is at its end: another read would only say so.
        if len(content) != size or not size:
            # One byte more tells whether it grew beyond (or is a pseudo file of any length).
            while len(content) <= SMALL_FILE and (more := os.read(fd, SMALL_FILE + 1 - len(content))):
                content += more
        return content if len(content) <= SMALL_FILE else None
    except BlockingIOError:
        return content
    finally:
        os.close(fd)


def _with_content(entry: Entry, content: bytes) -> Entry:
    # The size is that of the content, also where the file changed meanwhile or is a pseudo file.
    return entry._replace(size=len(content), content_bytes=len(content))


def _list(directory: int, path: bytes) -> tuple[list[Entry], list[bytes], bool]:
    """Return members, the contents that go with them, and whether these are all members.

    Raises:
        OSError: As open(2) and getdents(2).
    """
    fd = os.open(f"/proc/self/fd/{directory}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(fd) as members:
            names = [os.fsencode(member.name) for member in islice(members, MAX_MEMBERS + 1)]
        # Reading a pseudo file may have effects, so it has to be asked for: nothing fits in this budget.
        budget = -1 if is_pseudo_file_system(fd) else LISTING_BUDGET
        entries: list[Entry] = []
        contents: list[bytes] = []
        for name in names[:MAX_MEMBERS]:
            member_path = path.rstrip(b"/") + b"/" + name
            try:
                entry, content = _member(fd, member_path, name, budget)
            except FileNotFoundError:
                continue
            except OSError as error:
                entry, content = Entry(path_text(member_path), "missing", errno=error.errno or errno.EIO), None
            entries.append(entry)
            if content is not None:
                contents.append(content)
                budget -= len(content)
        return entries, contents, len(names) <= MAX_MEMBERS
    finally:
        os.close(fd)


def _member(directory: int, path: bytes, name: bytes, budget: int) -> tuple[Entry, bytes | None]:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        attributes = os.fstat(fd)
        target = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(attributes.st_mode) else b""
        entry = entry_of(path, attributes, target)
        if entry.kind != "file" or entry.size > budget or entry.size > SMALL_FILE:
            return entry, None
        try:
            content = _small_content(fd, entry.size)
        except OSError:
            # Unreadable, which the session hears when it asks for the content.
            content = None
        if content is None or len(content) > budget:
            return entry, None
        return _with_content(entry, content), content
    finally:
        os.close(fd)
