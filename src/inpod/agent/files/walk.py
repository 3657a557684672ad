"""Follows a path inside the target's root, part by part, and names what it meets. Blocking: for worker threads.

Links are read and followed here, so that each can be named. The kernel is asked only for paths that held no link a
moment ago, and with RESOLVE_IN_ROOT: a link that is put there in between leads astray at worst within the root.
"""

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from inpod.agent.namespaces import open_in_root
from inpod.protocol.listing import Entry, path_text

MAX_LINKS = 40
"""As the kernel (path_resolution(7)); more of them are ELOOP."""

MAX_PATH_BYTES = 4096
MAX_ENTRIES = 4096
"""Links and directories met on the way that are named; links to long paths could make it many more."""

_KINDS: dict[int, Literal["file", "dir", "link", "other"]] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
}


@dataclass(slots=True)
class Walk:
    """Attributes:
    entries: Links and directories met, each once, then the path itself.
    fd: Descriptor (O_PATH) of the path itself; -1 when that is missing. The caller closes it.
    path: Where the walk ended, without any link.
    """

    entries: list[Entry] = field(default_factory=list)
    fd: int = -1
    path: bytes = b"/"


def walk(root: int, path: bytes, *, is_last_followed: bool) -> Walk:
    """Follow `path` inside `root`. A failure is the last entry, of kind "missing", and no exception."""
    result = Walk()
    named: set[bytes] = set()
    todo = deque(path.split(b"/"))
    at: list[bytes] = []
    links_left = MAX_LINKS
    try:
        if b"\0" in path:
            raise OSError(errno.EINVAL, "")
        if len(path) >= MAX_PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, "")
        result.fd = open_in_root(root, b"/", os.O_PATH)
        while todo:
            part = todo.popleft()
            if part in (b"", b"."):
                # "file/" and "file/." name a directory (path_resolution(7), "Trailing slashes").
                _need_directory(result.fd)
                continue
            _need_directory(result.fd)
            at = at[:-1] if part == b".." else [*at, part]
            result.path = b"/" + b"/".join(at)
            os.close(result.fd)
            result.fd = -1
            result.fd = open_in_root(root, result.path, os.O_PATH | os.O_NOFOLLOW)
            attributes = os.fstat(result.fd)
            if stat.S_ISLNK(attributes.st_mode) and (todo or is_last_followed):
                text = os.readlink(b"", dir_fd=result.fd)
                _name(result, named, attributes, text)
                if links_left == 0 or not text:
                    raise OSError(errno.ELOOP if text else errno.ENOENT, "")
                links_left -= 1
                at = [] if text.startswith(b"/") else at[:-1]
                todo.extendleft(reversed(text.split(b"/")))
                os.close(result.fd)
                result.fd = -1
                result.path = b"/" + b"/".join(at)
                result.fd = open_in_root(root, result.path, os.O_PATH)
            elif todo:
                _name(result, named, attributes)
        _name_last(result)
    except OSError as error:
        if result.fd >= 0:
            os.close(result.fd)
        result.fd = -1
        result.entries.append(Entry(path_text(result.path), "missing", errno=error.errno or errno.EIO))
    return result


def entry_of(path: bytes, attributes: os.stat_result, target: bytes = b"") -> Entry:
    """Return the entry of a path that exists."""
    kind: Literal["file", "dir", "link", "other"] = _KINDS.get(stat.S_IFMT(attributes.st_mode), "other")
    return Entry(
        path=path_text(path),
        kind=kind,
        mode=attributes.st_mode if kind == "other" else stat.S_IMODE(attributes.st_mode),
        size=attributes.st_size,
        mtime_ns=attributes.st_mtime_ns,
        uid=attributes.st_uid,
        gid=attributes.st_gid,
        target=path_text(target),
    )


def _need_directory(fd: int) -> None:
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        raise OSError(errno.ENOTDIR, "")


def _name(result: Walk, named: set[bytes], attributes: os.stat_result, text: bytes = b"") -> None:
    if result.path in named or result.path == b"/":
        return
    if len(result.entries) >= MAX_ENTRIES:
        raise OSError(errno.ELOOP, "")
    named.add(result.path)
    result.entries.append(entry_of(result.path, attributes, text))


def _name_last(result: Walk) -> None:
    attributes = os.fstat(result.fd)
    text = os.readlink(b"", dir_fd=result.fd) if stat.S_ISLNK(attributes.st_mode) else b""
    last = entry_of(result.path, attributes, text)
    # The path itself comes last, even when it was met on the way ("/a/b/..").
    result.entries = [e for e in result.entries if e.path != last.path]
    result.entries.append(last)
