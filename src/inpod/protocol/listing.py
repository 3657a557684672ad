"""Paths of the target and what is there, as they travel in the answer to a `LookUp`: in blocks. No I/O here."""

import json
import struct
from typing import Literal, NamedTuple

SMALL_FILE = 64 * 1024
"""Contents of files up to this size, in bytes, travel with a directory's listing or a look-up."""

LISTING_BUDGET = 4 * 1024 * 1024
"""Most bytes of contents that one listing brings along."""

MAX_BLOCK = 64 * 1024 * 1024
"""Longest block: thousands of paths of thousands of bytes."""

_LENGTHS = struct.Struct(">II")
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


Found = list[tuple[Entry, bytes | None]]
"""Entries, each with its content, or None where it has none."""


def encode_entries(entries: list[Entry], contents: list[bytes]) -> bytes:
    """Return a block: u32 big-endian lengths of the JSON and of the contents, the JSON, the contents joined.

    The JSON is a list of the entries, each a list of its values in the order of the class: there may be thousands.
    `contents` has one item for each entry with `content_bytes` >= 0, in order.
    """
    head, data = _dump(entries).encode(), b"".join(contents)
    return b"".join([_LENGTHS.pack(len(head), len(data)), head, data])


def decode_entries(data: bytes) -> Found:
    """Return the entries of all blocks in `data`, each with its content, or None where it has none.

    Raises:
        PeerProtocolError: Lengths or fields that do not fit.
    """
    reader = EntriesReader()
    found = [item for block in reader.feed(data) for item in block]
    reader.end()
    return found


class EntriesReader:
    """Takes blocks out of a stream of bytes."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[Found]:
        """Return the blocks that are complete.

        Raises:
            PeerProtocolError: Too long, or no entries.
        """
        self._data += data
        blocks: list[Found] = []
        at = 0
        while len(self._data) - at >= _LENGTHS.size:
            lengths = _LENGTHS.unpack_from(self._data, at)
            if sum(lengths) > MAX_BLOCK:
                raise PeerProtocolError("too long")
            head = at + _LENGTHS.size
            if len(self._data) - head < sum(lengths):
                break
            at = head + sum(lengths)
            blocks.append(_decode(self._data, head, *lengths))
        self._data = self._data[at:]
        return blocks

    def end(self) -> None:
        """Check that no block was cut short.

        Raises:
            PeerProtocolError: One was.
        """
        if self._data:
            raise PeerProtocolError("cut short")


def _decode(data: bytes, start: int, length: int, content_length: int) -> Found:
    at = start + length
    found: Found = []
    try:
        for item in json.loads(data[start:at]):
            entry = Entry(*item)
            content: bytes | None = None
            if entry.content_bytes >= 0:
                content = data[at : at + entry.content_bytes]
                at += entry.content_bytes
            found.append((entry, content))
    except (ValueError, TypeError, RecursionError) as error:
        raise PeerProtocolError("bad listing") from error
    if at != start + length + content_length:
        raise PeerProtocolError("contents do not fit")
    return found


def path_text(path: bytes) -> str:
    """Return a path of the file system as text for JSON; `path_bytes` is the way back.

    Not `os.fsdecode`: the two ends may have different locales.
    """
    return path.decode("utf-8", "surrogateescape")


def path_bytes(text: str) -> bytes:
    """Return the bytes of a path that `path_text` made."""
    return text.encode("utf-8", "surrogateescape")
