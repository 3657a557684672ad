"""A pod made of dictionaries, for the fake session: files, names, and where connections lead."""

import errno
import os
import posixpath
import stat
from dataclasses import dataclass, field

from inpod.protocol.layer import Want
from inpod.protocol.listing import Entry

MTIME_NS = 1_600_000_000_000_000_000
"""Of every file: no file of this machine has it."""


@dataclass(frozen=True)
class Link:
    """A symbolic link's text."""

    text: str


@dataclass
class Pod:
    """What the program is to see.

    Attributes:
        files: Content or link by absolute path; directories come by themselves.
        modes: Of files and directories, by path, where not the usual; a directory that nobody may read is not listed.
        names: Addresses by host name, or an EAI_ number.
        texts: TXT records by name as it is asked for, or a response code, or the errno of the question.
        unnamed: EAI_ number for the name of an address that has none.
        services: By (host, port): the port on 127.0.0.1 that answers, or the errno of the connect.
    """

    files: dict[str, bytes | Link] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str] | int] = field(default_factory=dict)
    texts: dict[str, list[bytes] | int | OSError] = field(default_factory=dict)
    unnamed: int = -2
    services: dict[tuple[str, int], int | OSError] = field(default_factory=dict)

    def look_up(self, path: str, want: Want) -> list[tuple[Entry, bytes | None]]:
        """Return the entries that the real agent would: all that is met on the way, then the path itself."""
        met: list[tuple[Entry, bytes | None]] = []
        steps = [step for step in path.split("/") if step]
        here = "/"
        follows = 0
        while steps:
            step = steps.pop(0)
            if step == "..":
                here = posixpath.dirname(here)
                continue
            here = posixpath.join(here, step)
            found = self.files.get(here)
            if isinstance(found, Link):
                met.append((self._entry(here, "link", target=found.text), None))
                if not steps and want is Want.LSTAT:
                    return met
                follows += 1
                if follows > 40:
                    return [*met, (Entry(here, "missing", errno=errno.ELOOP), None)]
                steps = [part for part in found.text.split("/") if part] + steps
                here = "/" if found.text.startswith("/") else posixpath.dirname(here)
            elif found is not None:
                if steps:
                    return [*met, (Entry(here, "missing", errno=errno.ENOTDIR), None)]
                content = found if want in (Want.READ, Want.EXECUTE) else None
                met.append((self._entry(here, "file", size=len(found), content=content), content))
            elif self.members(here):
                met.append((self._entry(here, "dir"), None))
            else:
                return [*met, (Entry(here, "missing", errno=errno.ENOENT), None)]
        if want is Want.LIST and not self.modes.get(here, 0o755) & 0o444:
            return [*met, (Entry(here, "missing", errno=errno.EACCES), None)]
        if want is Want.LIST and here not in self.files:
            met.append((self._entry(here, "dir", is_listed=True), None))
            met += [self._member(posixpath.join(here, name)) for name in self.members(here)]
        return met

    def members(self, folder: str) -> list[str]:
        """Return the names in a directory; none: there is no such directory."""
        prefix = folder.rstrip("/") + "/"
        return sorted({path[len(prefix) :].split("/")[0] for path in self.files if path.startswith(prefix)})

    def _member(self, path: str) -> tuple[Entry, bytes | None]:
        found = self.files.get(path)
        if isinstance(found, Link):
            return self._entry(path, "link", target=found.text), None
        if found is None:
            return self._entry(path, "dir"), None
        return self._entry(path, "file", size=len(found)), None

    def _entry(
        self,
        path: str,
        kind: str,
        *,
        size: int = 0,
        target: str = "",
        is_listed: bool = False,
        content: bytes | None = None,
    ) -> Entry:
        usual = {"file": stat.S_IFREG | 0o644, "dir": stat.S_IFDIR | 0o755, "link": stat.S_IFLNK | 0o777}[kind]
        mode = stat.S_IFMT(usual) | self.modes.get(path, stat.S_IMODE(usual))
        return Entry(
            path=path,
            kind=kind,  # type: ignore[arg-type]  # one of its words, as the dictionary above has it
            mode=mode,
            size=size,
            mtime_ns=MTIME_NS,
            uid=os.getuid(),
            gid=os.getgid(),
            target=target,
            is_listed=is_listed,
            content_bytes=-1 if content is None else len(content),
        )
