"""Frames: cut anywhere they decode the same; garbage is refused, never misread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.tunnel.frames import MAX_PAYLOAD, Frame, FrameError, Kind, decode, encode
from inpod.tunnel.mux import WINDOW, Mux

FRAMES = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.sampled_from(list(Kind)), st.binary(max_size=40)), max_size=8)


@given(FRAMES, st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_frames_cut_anywhere_decode_once(frames: list[Frame], cuts: list[int]) -> None:
    data = b"".join(encode(*frame) for frame in frames)
    seen: list[Frame] = []
    rest, at, turn = b"", 0, 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        rest += data[at : at + size]
        at, turn = at + size, turn + 1
        found, used = decode(memoryview(rest), 0, len(rest))
        seen += found
        rest = rest[used:]
    assert seen == frames
    assert rest == b""


@given(st.binary(max_size=200))
def test_garbage_is_frames_or_an_error(data: bytes) -> None:
    try:
        found, used = decode(memoryview(data), 0, len(data))
    except FrameError:
        return
    assert sum(9 + len(payload) for _, _, payload in found) == used


def test_payload_over_the_limit_is_refused() -> None:
    head = encode(1, Kind.DATA)[:5] + (MAX_PAYLOAD + 1).to_bytes(4, "big")
    with pytest.raises(FrameError):
        decode(memoryview(head), 0, len(head))


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(list(Kind)), st.binary(max_size=9))))
def test_mux_takes_any_frames_or_refuses_them(frames: list[Frame]) -> None:
    mux = Mux(initiator=True)
    mux.open(b"")
    for frame in frames:
        try:
            mux.received(*frame)
        except FrameError:
            return


def test_data_beyond_the_credit_is_refused() -> None:
    mux = Mux(initiator=True)
    stream = mux.open(b"")
    for _ in range(WINDOW // MAX_PAYLOAD):
        mux.received(stream, Kind.DATA, bytes(MAX_PAYLOAD))
    with pytest.raises(FrameError):
        mux.received(stream, Kind.DATA, b"x")


def test_data_is_cut_at_the_credit() -> None:
    mux = Mux(initiator=False)
    stream = mux.open(b"")
    assert mux.send(stream, bytes(WINDOW + 5)) == WINDOW
    mux.received(stream, Kind.CREDIT, (3).to_bytes(4, "big"))
    assert mux.send(stream, b"12345") == 3
