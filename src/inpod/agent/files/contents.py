"""Reads files of the target. Blocking: for worker threads.

Nothing is opened for reading before its kind is known: opening a pipe wakes its writer, opening a device may do
anything. So a path is first held by an O_PATH descriptor, looked at, and then opened again through /proc/self/fd.
"""

import errno
import os
import stat

from inpod.agent.files.walk import walk
from inpod.agent.namespaces import is_pseudo_file_system
from inpod.protocol.listing import SMALL_FILE, Entry

MAX_PSEUDO_BYTES = 16 * 1024 * 1024
"""Most that is read of a file whose size says nothing."""

CHUNK_BYTES = 256 * 1024

READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


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
    return os.open(f"/proc/self/fd/{path_fd}", READ)


def content_behind(path_fd: int, size: int) -> bytes | None:
    """As `small_content`, of a regular file that an O_PATH descriptor holds."""
    if size > SMALL_FILE:
        return None
    fd = _open_again(path_fd)
    try:
        return small_content(fd, size)
    finally:
        os.close(fd)


def small_content(fd: int, size: int) -> bytes | None:
    """Return the whole content of a regular file when it is small, else None.

    Args:
        size: What fstat(2) says of it; pseudo files have more, and a file may grow.

    Raises:
        OSError: As read(2).
    """
    content = b""
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


def with_content(entry: Entry, content: bytes) -> Entry:
    # The size is that of the content, also where the file changed meanwhile or is a pseudo file.
    return entry._replace(size=len(content), content_bytes=len(content))
