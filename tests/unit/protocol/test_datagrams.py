"""Datagrams in a stream: cut anywhere they decode the same; what is too long is refused before it is held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.protocol.datagrams import (
    MAX_DATAGRAM,
    MAX_MESSAGE,
    DatagramDecoder,
    DatagramError,
    MessageDecoder,
    encode,
    encode_message,
)

SOME = [b"", b"a", bytes(range(200)), b"", b"end"]


def test_datagrams_cut_at_every_byte_decode_once() -> None:
    data = b"".join(map(encode, SOME))
    for cut in range(len(data) + 1):
        decoder = DatagramDecoder()
        assert decoder.feed(data[:cut]) + decoder.feed(data[cut:]) == SOME


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(1, 200), min_size=1, max_size=20))
def test_datagrams_cut_anywhere_decode_once(datagrams: list[bytes], cuts: list[int]) -> None:
    data = b"".join(map(encode, datagrams))
    decoder, seen, at, turn = DatagramDecoder(), list[bytes](), 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        seen += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert seen == datagrams


@given(st.lists(st.binary(max_size=4000), max_size=40))
def test_garbage_is_decoded_to_less_than_it_was_or_refused(pieces: list[bytes]) -> None:
    decoder, size = DatagramDecoder(), 0
    try:
        for piece in pieces:
            size += sum(2 + len(datagram) for datagram in decoder.feed(piece))
    except DatagramError:
        return
    assert size <= sum(map(len, pieces))


def test_largest_datagram_travels_and_a_larger_one_does_not() -> None:
    largest = bytes(MAX_DATAGRAM)
    assert DatagramDecoder().feed(encode(largest)) == [largest]
    with pytest.raises(ValueError, match="65508"):
        encode(bytes(MAX_DATAGRAM + 1))
    with pytest.raises(DatagramError):
        DatagramDecoder().feed((MAX_DATAGRAM + 1).to_bytes(2))


def test_largest_message_travels_and_a_larger_one_does_not() -> None:
    some = [b"", bytes(MAX_MESSAGE), b"end"]
    assert MessageDecoder().feed(b"".join(map(encode_message, some))) == some
    with pytest.raises(ValueError, match="1048577"):
        encode_message(bytes(MAX_MESSAGE + 1))
    with pytest.raises(DatagramError):
        MessageDecoder().feed((MAX_MESSAGE + 1).to_bytes(4))
