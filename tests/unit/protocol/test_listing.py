"""Blocks of entries: whole however they are cut, and hostile ones refused."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.protocol.listing import EntriesReader, Entry, Found, PeerProtocolError, decode_entries, encode_entries

BLOCKS = [
    encode_entries([Entry("/d", "dir", is_listed=True)], []),
    encode_entries([Entry("/d/a", "file", content_bytes=3), Entry("/d/l", "link", target="a")], [b"abc"]),
    encode_entries([Entry("/d/b", "file", content_bytes=0), Entry("/d/c", "file", content_bytes=2)], [b"", b"de"]),
]
ANSWER = b"".join(BLOCKS)


@given(st.lists(st.integers(0, len(ANSWER)), max_size=8))
def test_cut_anywhere_the_blocks_are_the_same(cuts: list[int]) -> None:
    reader = EntriesReader()
    ends = [0, *sorted(cuts), len(ANSWER)]
    found: list[Found] = []
    for start, end in itertools.pairwise(ends):
        found += reader.feed(ANSWER[start:end])
    reader.end()
    assert found == [decode_entries(block) for block in BLOCKS]
    assert [content for block in found for _, content in block] == [None, b"abc", None, b"", b"de"]


@given(st.integers(1, len(ANSWER) - 1))
def test_answer_that_is_cut_short_is_refused(length: int) -> None:
    ends = {len(b"".join(BLOCKS[:count])) for count in range(len(BLOCKS))}
    if length in ends:
        assert decode_entries(ANSWER[:length])
    else:
        with pytest.raises(PeerProtocolError):
            decode_entries(ANSWER[:length])


@given(st.binary(max_size=100), st.integers(0, len(ANSWER)))
def test_any_bytes_are_entries_or_refused(data: bytes, at: int) -> None:
    try:
        found = decode_entries(ANSWER[:at] + data + ANSWER[at + len(data) :])
    except PeerProtocolError:
        return
    assert all(content is None or len(content) == entry.content_bytes for entry, content in found)


def test_listing_that_is_nested_too_deeply_is_refused() -> None:
    nested = b"[" * 100_000
    with pytest.raises(PeerProtocolError):
        decode_entries(struct.pack(">II", len(nested), 0) + nested)
