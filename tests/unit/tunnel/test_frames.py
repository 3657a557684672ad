"""Frames: cut anywhere they decode the same; garbage is refused, never misread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.tunnel.frames import HEADER, MAX_PAYLOAD, ROOM, Frame, FrameDecoder, FrameError, Kind, encode

FRAMES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(list(Kind)), st.binary(max_size=40)), max_size=8)
SOME = [(1, Kind.OPEN, b"head"), (1, Kind.DATA, bytes(range(30))), (0, Kind.PING, b""), (2**32 - 1, Kind.RESET, b"no")]


def test_frames_cut_at_every_byte_decode_once() -> None:
    data = b"".join(encode(*frame) for frame in SOME)
    for cut in range(len(data) + 1):
        decoder = FrameDecoder()
        assert decoder.feed(data[:cut]) + decoder.feed(data[cut:]) == SOME


@given(FRAMES, st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_frames_cut_anywhere_decode_once(frames: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode(*frame) for frame in frames)
    decoder, seen, at, turn = FrameDecoder(), list[Frame](), 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        seen += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert seen == frames


def test_frames_that_do_not_divide_the_room_decode_once() -> None:
    payloads = [bytes([n]) * (MAX_PAYLOAD - n) for n in range(40)]
    data = b"".join(encode(n, Kind.DATA, payload) for n, payload in enumerate(payloads))
    assert len(data) > 4 * ROOM
    decoder, seen = FrameDecoder(), list[Frame]()
    for at in range(0, len(data), 100_003):
        seen += decoder.feed(data[at : at + 100_003])
    assert [payload for _, _, payload in seen] == payloads


def test_room_always_takes_the_rest_of_a_frame() -> None:
    decoder = FrameDecoder()
    head = HEADER.pack(1, Kind.DATA, MAX_PAYLOAD)
    for _ in range(3 * ROOM // MAX_PAYLOAD):
        assert decoder.feed(head) == []
        assert len(decoder.room()) >= MAX_PAYLOAD
        assert decoder.feed(bytes(MAX_PAYLOAD)) == [(1, Kind.DATA, bytes(MAX_PAYLOAD))]


@given(st.binary(max_size=200))
def test_garbage_is_frames_or_an_error(data: bytes) -> None:
    try:
        found = FrameDecoder().feed(data)
    except FrameError:
        return
    again = b"".join(encode(*frame) for frame in found)
    assert data.startswith(again)


@given(FRAMES, st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_gives_frames_or_an_error(frames: list[Frame], at: int, value: int) -> None:
    data = bytearray(b"".join(encode(*frame) for frame in frames))
    if at < len(data):
        data[at] = value
    test_garbage_is_frames_or_an_error.hypothesis.inner_test(bytes(data))  # type: ignore[attr-defined]  # hypothesis


def test_payload_over_the_limit_is_refused_by_its_header() -> None:
    with pytest.raises(FrameError):
        FrameDecoder().feed(HEADER.pack(1, Kind.DATA, MAX_PAYLOAD + 1))


@pytest.mark.parametrize("kind", [0, 9, 255])
def test_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(FrameError):
        FrameDecoder().feed(HEADER.pack(1, kind, 0))
