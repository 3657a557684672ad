"""Answers what is at a path of the target. Blocking: for worker threads."""

import errno
import os
from collections.abc import Callable

from inpod.agent.files.contents import content_behind, with_content
from inpod.agent.files.members import Members
from inpod.agent.files.walk import walk
from inpod.protocol.agent import LookUp
from inpod.protocol.listing import Entry, encode_entries, path_bytes


def look_up(
    root: int, request: LookUp, watch: Callable[[list[Entry]], bool] = lambda _: False
) -> tuple[bytes, Members | None]:
    """Return the first block of the answer to a `LookUp`, and of a directory what reads the others.

    Failures of the target's files are entries of it, not exceptions.

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
        return encode_entries(found.entries, []), None
    contents: list[bytes] = []
    members: Members | None = None
    last = found.entries[-1]
    try:
        if request.want == "read" and last.kind == "file":
            content = content_behind(found.fd, last.size)
            if content is not None:
                contents.append(content)
                found.entries[-1] = with_content(last, content)
        elif request.want == "list" and last.kind == "dir":
            members = Members(found.fd, found.path)
            found.entries[-1] = last._replace(is_listed=members.is_complete)
    except OSError as error:
        found.entries[-1] = Entry(last.path, "missing", errno=error.errno or errno.EIO)
    finally:
        os.close(found.fd)
    return encode_entries(found.entries, contents), members
