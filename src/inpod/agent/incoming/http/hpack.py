"""Header blocks of HTTP/2: HPACK (RFC 7541). No I/O here.

Blocks are decoded to look at them. Most are then forwarded as they came, which needs that they say nothing about the dynamic
table of their connection: `Block.is_stateless`. Others are encoded again, plainly: they are few.
"""

from collections import deque
from typing import NamedTuple

from inpod.agent.incoming.http.hpack_huffman import HuffmanError
from inpod.agent.incoming.http.hpack_huffman import decode as decode_huffman
from inpod.agent.incoming.http.hpack_static import STATIC

MAX_LIST = 64 * 1024
"""Most bytes that the fields of a block may make, as RFC 9113 section 6.5.2 counts: a small block can name a large entry often."""

TABLE_DEFAULT = 4096
"""Bytes of a dynamic table, unless its decoder said otherwise."""

EMPTY_TABLE = b"\x20"
"""Sets the dynamic table's size to 0; stands at the beginning of a block."""

_ENTRY_OVERHEAD = 32
_FIRST_DYNAMIC = len(STATIC)
_MAX_INTEGER = 1 << 24
"""No length or index that makes sense is larger."""

_SURELY_FITS = 1024
"""A block of so many bytes without dynamic entries cannot say more than MAX_LIST: no static entry makes more than 64 bytes."""

Field = tuple[bytes, bytes]


class HpackError(Exception):
    """A block that is not encoded by the rules."""


class TooLargeError(Exception):
    """A block whose fields make more than MAX_LIST bytes."""


class Block(NamedTuple):
    """What a header block says.

    Attributes:
        fields: In order.
        never: Places of fields that must never be put into a table, by whoever encodes them.
        start: Where the fields begin, behind changes of the table's size.
        is_stateless: No field is taken from the dynamic table.
    """

    fields: tuple[Field, ...]
    never: tuple[int, ...]
    start: int
    is_stateless: bool


class Decoder:
    """Decodes the blocks of one direction of a connection, with its dynamic table.

    Attributes:
        limit: Largest size of the table that the other end may choose, from its next block on.
        size: The size it chose.
    """

    __slots__ = ("_entries", "_used", "limit", "size")

    def __init__(self, size: int = TABLE_DEFAULT) -> None:
        self.limit = size
        self.size = size
        self._used = 0
        self._entries: deque[Field] = deque()  # the newest first

    def decode(self, block: bytes) -> Block:
        """Return what a whole block says.

        Raises:
            HpackError: It breaks the rules: nothing that follows can be understood.
            TooLargeError: It says too much. The same.
        """
        try:
            return self._decode(block)
        except IndexError:
            raise HpackError("header block ends within a field") from None
        except HuffmanError as error:
            raise HpackError(str(error)) from None

    def _decode(self, block: bytes) -> Block:
        fields: list[Field] = []
        never: list[int] = []
        start = at = self._sizes(block)
        is_stateless = True
        end, static, first_dynamic = len(block), STATIC, _FIRST_DYNAMIC
        while at < end:
            first = block[at]
            if first >= 0x80:
                index = first & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(block, at, 0x7F)
                if index < first_dynamic:
                    if not index:
                        raise HpackError("index 0")
                    field = static[index]
                else:
                    is_stateless = False
                    field = self._entry(index)
            else:
                if first >= 0x40:
                    mask = 0x3F
                elif first < 0x20:
                    mask = 0x0F
                    if first >= 0x10:
                        never.append(len(fields))
                else:
                    raise HpackError("table size within a header block")
                index = first & mask
                at += 1
                if index == mask:
                    index, at = _integer(block, at, mask)
                if not index:
                    length = block[at]
                    at += 1
                    if length < 0x7F:
                        name = block[at : at + length]
                        at += length
                    else:
                        name, at = _text(block, at, length)
                elif index < first_dynamic:
                    name = static[index][0]
                else:
                    is_stateless = False
                    name = self._entry(index)[0]
                length = block[at]
                at += 1
                if length < 0x7F:
                    value = block[at : at + length]
                    at += length
                else:
                    value, at = _text(block, at, length)
                field = (name, value)
                if first >= 0x40:
                    self._add(field)
            fields.append(field)
        if at > end:
            raise HpackError("header block ends within a text")
        # The fields of a table are shared, so a block that names many large ones did no harm yet.
        if (not is_stateless or end > _SURELY_FITS) and _size(fields) > MAX_LIST:
            raise TooLargeError
        return Block(tuple(fields), tuple(never), start, is_stateless)

    def _sizes(self, block: bytes) -> int:
        """Apply the changes of the table's size that a block begins with; return where its fields begin.

        Without one, an end that was given a smaller limit keeps its table. RFC 9113 section 4.3.1 wants an error. Who
        shrank it unsaid names no entry that we dropped, and who did not shrink it is understood: neither is worth ending
        a connection that the original, which set no limit, would have kept.
        """
        at = 0
        while at < len(block) and block[at] & 0xE0 == 0x20:
            size = block[at] & 0x1F
            at += 1
            if size == 0x1F:
                size, at = _integer(block, at, 0x1F)
            if size > self.limit:
                raise HpackError("table size over its limit")
            self.size = size
            self._shrink(size)
        return at

    def _entry(self, index: int) -> Field:
        index -= _FIRST_DYNAMIC
        if index >= len(self._entries):
            raise HpackError("index of no entry")
        return self._entries[index]

    def _add(self, field: Field) -> None:
        size = len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        self._shrink(max(self.size - size, 0))
        # A field larger than the table only empties it.
        if size <= self.size:
            self._entries.appendleft(field)
            self._used += size

    def _shrink(self, size: int) -> None:
        while self._used > size:
            name, value = self._entries.pop()
            self._used -= len(name) + len(value) + _ENTRY_OVERHEAD


def encode(fields: tuple[Field, ...], never: tuple[int, ...] = ()) -> bytes:
    """Return a block that says `fields` and leaves any table as it is."""
    parts: list[bytes] = []
    for number, (name, value) in enumerate(fields):
        parts += (b"\x10" if number in never else b"\x00", _length(name), name, _length(value), value)
    return b"".join(parts)


def _size(fields: list[Field]) -> int:
    return sum(len(name) + len(value) + _ENTRY_OVERHEAD for name, value in fields)


def _text(block: bytes, at: int, first: int) -> tuple[bytes, int]:
    """Return a text that is long or encoded, and where it ends; may be behind the block's end."""
    length = first & 0x7F
    if length == 0x7F:
        length, at = _integer(block, at, 0x7F)
    end = at + length
    text = block[at:end]
    return (decode_huffman(text) if first >= 0x80 else text), end


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """Return an integer whose prefix of bits is full, and where it ends (RFC 7541 section 5.1)."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        shift += 7
        # Zeroes may follow without end, so the place counts too.
        if value > _MAX_INTEGER or shift > 35:
            raise HpackError("integer too large")
        if byte < 0x80:
            return value, at


def _length(text: bytes) -> bytes:
    size = len(text)
    if size < 0x7F:
        return bytes((size,))
    size -= 0x7F
    parts = [0x7F]
    while size >= 0x80:
        parts.append(size & 0x7F | 0x80)
        size >>= 7
    parts.append(size)
    return bytes(parts)
