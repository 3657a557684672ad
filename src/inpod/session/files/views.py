"""Files of the pod that the program sees otherwise: those that say where names come from.

Programs that the layer does not answer for read them with their own libc: traced ones, Go, musl, c-ares.
"""

import time
from collections.abc import Callable
from pathlib import Path

from inpod.protocol.listing import Entry, Found

HOSTS = "/etc/hosts"
NSSWITCH = "/etc/nsswitch.conf"

_HOSTS_LINE = b"hosts: files dns\n"


class Views:
    """Those of a session.

    Attributes:
        made: Files that have nothing of the pod's in them, with their contents.
    """

    def __init__(self, hosts: Callable[[bytes], bytes] | None = None) -> None:
        """Prepare.

        Args:
            hosts: Returns what the program sees of the pod's hosts file; None: all of it.
        """
        self._hosts = hosts
        self.made: Found = [_file(NSSWITCH, name_services(_read(NSSWITCH)))]
        self._own = frozenset(entry.path for entry, _ in self.made)

    def of(self, found: Found) -> Found:
        """Return an answer of the agent as it goes into the replica."""
        return [self._view(entry, content) for entry, content in found if entry.path not in self._own]

    def is_own(self, path: str) -> bool:
        """Return whether changes of the pod's file do not matter."""
        return path in self._own

    def _view(self, entry: Entry, content: bytes | None) -> tuple[Entry, bytes | None]:
        if self._hosts is None or content is None or entry.path != HOSTS:
            return entry, content
        seen = self._hosts(content)
        return entry._replace(size=len(seen), content_bytes=len(seen)), seen


def name_services(own: bytes) -> bytes:
    """Return this machine's nsswitch.conf(5), with names of hosts from their file and DNS only.

    Users and the like stay as they are. Other services of names, as those of systemd-resolved, ask about this machine.
    """
    kept = [line for line in own.splitlines() if line.partition(b":")[0].strip() != b"hosts"]
    return b"".join(line + b"\n" for line in kept) + _HOSTS_LINE


def _file(path: str, content: bytes) -> tuple[Entry, bytes]:
    size = len(content)
    return Entry(path, "file", 0o644, size, mtime_ns=time.time_ns(), content_bytes=size), content


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
