"""The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B). No I/O here.

Bits are walked a byte at a time through rows that are made when a text first leads there: making all 256 at once would take
longer than most agents need for their first request.
"""

from functools import lru_cache

MAX_REMEMBERED = 128
"""Longest encoded text, in bytes, whose decoding is remembered: names and common values are short."""

_EOS = 256

# Bits of the code of each byte, then of the end-of-string symbol. The codes follow: they are counted up in the order of
# length, then of the byte.
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b0806060605050506060606060606"
    "07080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f05060506050606060507070606060506070605"
    "050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617161717181615141616171715171616181516"
    "1717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b1418141516151517"
    "1616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)


class HuffmanError(Exception):
    """A text that is not encoded by the rules."""


class _Row:
    """What each next byte leads to, from one place within a code.

    Attributes:
        texts: What the byte completes; None where it breaks the rules.
        rows: The place after it.
        may_end: A text may end here: fewer than eight bits are open, and all are 1.
    """

    __slots__ = ("may_end", "node", "rows", "texts")

    def __init__(self, node: int, *, may_end: bool) -> None:
        self.node = node
        self.may_end = may_end
        self.texts: list[bytes | None] = []
        self.rows: list[_Row] = []


def decode(data: bytes) -> bytes:
    """Return what `data` encodes.

    Raises:
        HuffmanError: It holds the end-of-string symbol, or its padding is wrong.
    """
    return _decode_remembered(data) if len(data) <= MAX_REMEMBERED else _decode(data)


def _decode(data: bytes) -> bytes:
    row, found = _ROOT, []
    for byte in data:
        if not row.texts:
            _fill(row)
        found.append(row.texts[byte])
        row = row.rows[byte]
    if not row.may_end:
        raise HuffmanError("padding of a Huffman text")
    try:
        return b"".join(found)  # type: ignore[arg-type]  # a None is what the rules forbid
    except TypeError:
        raise HuffmanError("end of string within a Huffman text") from None


_decode_remembered = lru_cache(maxsize=2048)(_decode)


def _tree() -> list[list[int]]:
    """Return the nodes of the code: two children each; a child under 0 is the leaf of symbol -1 - child."""
    nodes: list[list[int]] = [[0, 0]]
    code, last = 0, 0
    for symbol in sorted(range(len(_LENGTHS)), key=lambda symbol: (_LENGTHS[symbol], symbol)):
        length = _LENGTHS[symbol]
        code <<= length - last
        last = length
        node = 0
        for bit in range(length - 1, 0, -1):
            side = code >> bit & 1
            if not nodes[node][side]:
                nodes.append([0, 0])
                nodes[node][side] = len(nodes) - 1
            node = nodes[node][side]
        nodes[node][code & 1] = -1 - symbol
        code += 1
    return nodes


def _fill(row: _Row) -> None:
    texts: list[bytes | None] = []
    rows: list[_Row] = []
    for byte in range(256):
        node, text = row.node, b""
        for bit in range(7, -1, -1):
            node = _NODES[node][byte >> bit & 1]
            if node < 0:
                symbol, node = -1 - node, 0
                if symbol == _EOS:
                    rows.append(_BROKEN)
                    texts.append(None)
                    break
                text += _SINGLE[symbol]
        else:
            rows.append(_row_of(node))
            texts.append(_SHARED.setdefault(text, text))
    row.rows = rows
    row.texts = texts


def _row_of(node: int) -> _Row:
    row = _ROWS.get(node)
    if row is None:
        row = _ROWS[node] = _Row(node, may_end=node in _PADDING)
    return row


def _padding() -> set[int]:
    nodes, node = {0}, 0
    for _ in range(7):
        node = _NODES[node][1]
        nodes.add(node)
    return nodes


_NODES = _tree()
_PADDING = _padding()
_SINGLE = [bytes([symbol]) for symbol in range(256)]
# Two symbols at most come of a byte: each pair is kept once.
_SHARED: dict[bytes, bytes] = {}
_ROWS: dict[int, _Row] = {}
_BROKEN = _Row(-1, may_end=True)
_BROKEN.texts = [None] * 256
_BROKEN.rows = [_BROKEN] * 256
_ROOT = _row_of(0)
