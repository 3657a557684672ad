"""Notices what changes in the folders that the session has asked about, by inotify(7).

File systems whose changes are made elsewhere (NFS), and pseudo file systems, tell nothing.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import struct
import threading
from collections.abc import Iterable

from inpod.agent.files.walk import walk
from inpod.agent.namespaces import open_in_root
from inpod.protocol.listing import Entry, encode_entries, path_bytes, path_text

MAX_FOLDERS = 4096
"""Watched at a time; the kernel has a limit for all processes of a user (fs.inotify.max_user_watches)."""

MAX_CHANGES = 4096
"""Told in one message."""

GATHER_S = 0.02
"""A write is many events."""

TELL_AGAIN_S = 60.0
"""What was told so long ago may not have arrived when a link is lost: both ends have noticed that by then."""

MAX_TOLD = 16 * 1024
"""Of these, kept at a time."""

_IN_CREATE, _IN_DELETE, _IN_MOVED_FROM, _IN_MOVED_TO = 0x100, 0x200, 0x40, 0x80
_IN_MODIFY, _IN_ATTRIB = 0x2, 0x4
_IN_IGNORED, _IN_ISDIR = 0x8000, 0x4000_0000
_REPLACES = _IN_DELETE | _IN_MOVED_FROM | _IN_MOVED_TO
"""Of a folder: the next one there is another. One that is made takes nobody's place."""
_IN_ONLYDIR, _IN_EXCL_UNLINK = 0x0100_0000, 0x0400_0000
_WANTED = _IN_CREATE | _IN_DELETE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_MODIFY | _IN_ATTRIB
_EVENT = struct.Struct("iIII")
_READ_BYTES = 64 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Watcher:
    """One inotify instance. `watch` is for worker threads, the rest for the loop."""

    def __init__(self, root: int) -> None:
        """Watch below `root`, an O_PATH descriptor.

        Raises:
            OSError: No instance to be had (fs.inotify.max_user_instances).
        """
        self._root = root
        self._fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._folders: dict[int, bytes] = {}
        self._known: set[bytes] = set()
        # Over both, and the kernel's watches: one and the same is had by a folder's old path and by its new one.
        self._lock = threading.Lock()
        # Whether a folder that is there may be another than before.
        self._changed: dict[bytes, bool] = {}
        self._told: dict[bytes, tuple[float, bool]] = {}
        self._has_news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._read)

    def watch(self, entries: Iterable[Entry]) -> bool:
        """Watch the folders that the entries lie in, and those that they are. True: one was not watched before."""
        folders = {path_bytes(entry.path).rpartition(b"/")[0] or b"/" for entry in entries}
        folders |= {path_bytes(entry.path) for entry in entries if entry.kind == "dir"}
        # The outer ones first: they tell of the inner ones that are moved.
        added = [folder for folder in sorted(folders) if folder not in self._known and self._add(folder)]
        return bool(added)

    async def changes(self) -> list[tuple[bytes, bool]]:
        """Return paths at which something came, went or changed, once there are some, as `describe` takes them."""
        await self._has_news.wait()
        await asyncio.sleep(GATHER_S)
        found = list(self._changed.items())[:MAX_CHANGES]
        now = self._loop.time()
        for path, is_other in found:
            del self._changed[path]
            # Told last, it is last.
            self._told.pop(path, None)
            self._told[path] = now, is_other
        while self._told:
            first = next(iter(self._told))
            if self._told[first][0] > now - TELL_AGAIN_S and len(self._told) <= MAX_TOLD:
                break
            del self._told[first]
        if not self._changed:
            self._has_news.clear()
        return found

    def tell_again(self) -> None:
        """Tell what was told lately once more, as the link may have been lost before it arrived."""
        for path, (_, is_other) in self._told.items():
            self._note(path, is_other=is_other)
        if self._changed:
            self._has_news.set()

    def _add(self, folder: bytes) -> bool:
        if len(self._known) >= MAX_FOLDERS:
            return False
        try:
            fd = open_in_root(self._root, folder, os.O_PATH | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            with self._lock:
                mask = _WANTED | _IN_ONLYDIR | _IN_EXCL_UNLINK
                number = _libc.inotify_add_watch(self._fd, b"/proc/self/fd/%d" % fd, mask)
                if number < 0:
                    return False
                # Two paths may lead to one folder (bind mounts): the last one is told.
                self._folders[number] = folder
                self._known.add(folder)
            # What was moved away before it was watched may have been told already.
            if not self._leads_to(folder, fd):
                self._forget(folder)
        finally:
            os.close(fd)
        return True

    def _leads_to(self, folder: bytes, fd: int) -> bool:
        again = -1
        try:
            again = open_in_root(self._root, folder, os.O_PATH | os.O_NOFOLLOW)
            return os.path.sameopenfile(fd, again)
        except OSError:
            return False
        finally:
            if again >= 0:
                os.close(again)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            folder = self._folders.get(number)
            if folder is None:
                continue
            if mask & _IN_IGNORED:
                # It is gone, and a new one of its name is another.
                with self._lock:
                    self._known.discard(self._folders.pop(number, folder))
            elif name:
                path = folder.rstrip(b"/") + b"/" + name
                is_folder = bool(mask & _IN_ISDIR)
                self._note(path, is_other=is_folder and bool(mask & _REPLACES))
                if is_folder and mask & _IN_MOVED_FROM:
                    self._forget(path)
        if self._changed:
            self._has_news.set()

    def _note(self, path: bytes, *, is_other: bool) -> None:
        self._changed[path] = is_other or self._changed.get(path, False)

    def _forget(self, moved: bytes) -> None:
        """Watch a folder no more that was moved away, nor those below it: what comes in its place are others."""
        with self._lock:
            for number, folder in list(self._folders.items()):
                if folder == moved or folder.startswith(moved + b"/"):
                    del self._folders[number]
                    self._known.discard(folder)
                    _libc.inotify_rm_watch(self._fd, number)


def describe(root: int, paths: list[tuple[bytes, bool]]) -> bytes:
    """Return entries, encoded, of what is at paths now. Blocking.

    Args:
        paths: With each, whether a folder there may be another than before: then it is said first that it is missing.
    """
    found: list[Entry] = []
    for path, is_other in paths:
        walked = walk(root, path, is_last_followed=False)
        if walked.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(walked.fd)
        last = walked.entries[-1]
        # A link on the way, that came meanwhile, is a change of its own.
        if last.path == path_text(path) or last.kind == "missing":
            if is_other and last.kind == "dir":
                found.append(Entry(path_text(path), "missing", errno=errno.ENOENT))
            found.append(last._replace(path=path_text(path)))
    return encode_entries(found, [])


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
