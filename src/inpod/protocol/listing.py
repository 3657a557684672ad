"""Paths of the target and what is there, as they travel in the answer to a `LookUp`. No I/O here."""

import json
import struct
from typing import Literal, NamedTuple

SMALL_FILE = 64 * 1024
"""Contents of files up to this size, in bytes, travel with a directory's listing or a look-up."""

LISTING_BUDGET = 4 * 1024 * 1024
"""Most bytes of contents that one listing brings along."""

MAX_NEWS = 64 * 1024 * 1024
"""Longest message of changes: thousands of paths of thousands of bytes."""

_LENGTH = struct.Struct(">I")
_dump = json.JSONEncoder(separators=(",", ":")).encode


class PeerProtocolError(Exception):
    """The other end of the tunnel said something that this protocol does not have."""


class Entry(NamedTuple):
    """One path of a `LookUp` answer: there may be thousands, and a tuple is made and written in no time.

    Attributes:
        path: Absolute in the target, of the link itself where it is one.
        kind: "missing" has `errno`; "other" is a socket, pipe or device.
        mode: Permissions; of "other" with the type, as st_mode.
        target: A link's text.
        is_listed: A directory of which every member is in this answer.
        content_bytes: Size of the content in this answer; -1 when it is not here.
        errno: Of the failed resolution, else 0.
    """

    path: str
    kind: Literal["file", "dir", "link", "other", "missing"]
    mode: int = 0
    size: int = 0
    mtime_ns: int = 0
    uid: int = 0
    gid: int = 0
    target: str = ""
    is_listed: bool = False
    content_bytes: int = -1
    errno: int = 0


def encode_entries(entries: list[Entry], contents: list[bytes]) -> bytes:
    """Return the data of a `LookUp` answer: u32 big-endian length of the JSON, the JSON, the contents joined.

    The JSON is a list of the entries, each a list of its values in the order of the class: there may be thousands.
    `contents` has one item for each entry with `content_bytes` >= 0, in order.
    """
    head = _dump(entries).encode()
    return b"".join([_LENGTH.pack(len(head)), head, *contents])


def decode_entries(data: bytes) -> list[tuple[Entry, bytes | None]]:
    """Return each entry with its content, or None where it has none.

    Raises:
        PeerProtocolError: Lengths or fields that do not fit.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        raw = json.loads(data[4 : 4 + length])
        at = 4 + length
        out: list[tuple[Entry, bytes | None]] = []
        for item in raw:
            entry = Entry(*item)
            content: bytes | None = None
            if entry.content_bytes >= 0:
                content = data[at : at + entry.content_bytes]
                at += entry.content_bytes
                if len(content) != entry.content_bytes:
                    raise PeerProtocolError("content cut short")
            out.append((entry, content))
    except (struct.error, ValueError, TypeError) as error:
        raise PeerProtocolError("bad listing") from error
    return out


class EntriesReader:
    """Takes `encode_entries` of no contents, one after the other, out of a stream of bytes."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[Entry]:
        """Return the entries of what is complete.

        Raises:
            PeerProtocolError: Too long, or no entries.
        """
        self._data += data
        found: list[Entry] = []
        while len(self._data) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._data)
            if length > MAX_NEWS:
                raise PeerProtocolError("too long")
            end = _LENGTH.size + length
            if len(self._data) < end:
                break
            found += [entry for entry, _ in decode_entries(self._data[:end])]
            self._data = self._data[end:]
        return found


def path_text(path: bytes) -> str:
    """Return a path of the file system as text for JSON; `path_bytes` is the way back.

    Not `os.fsdecode`: the two ends may have different locales.
    """
    return path.decode("utf-8", "surrogateescape")


def path_bytes(text: str) -> bytes:
    """Return the bytes of a path that `path_text` made."""
    return text.encode("utf-8", "surrogateescape")
