"""Frames larger than everybody takes, in pieces that everybody takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_frames import FRAME_BYTES, Frame, FrameReader, Http2Error
from inpod.agent.incoming.mirror.h2_pieces import Pieces


def large(size: int, flags: int, stream: int, payload: bytes) -> bytes:
    return size.to_bytes(3) + bytes([frames.DATA, flags]) + stream.to_bytes(4) + payload


def data(size: int, flags: int, stream: int, padding: int) -> tuple[bytes, Frame]:
    """Return a frame of DATA, and what it says."""
    content = bytes([stream]) * size
    said = frames.DATA, flags, stream, content
    if not padding:
        return large(size, flags, stream, content), said
    payload = bytes([padding - 1]) + content + bytes(padding - 1)
    return large(len(payload), flags | frames.PADDED, stream, payload), said


SIZES = st.sampled_from([0, 1, 1000, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES, 100_000])
SAID = st.one_of(
    st.builds(data, SIZES, st.sampled_from([0, frames.END_STREAM]), st.integers(1, 9), st.sampled_from([0, 1, 7, 256])),
    st.sampled_from([(frames.settings({4: 10}), (frames.SETTINGS, 0, 0, b"\0\4\0\0\0\x0a"))]),
)


def joined(found: list[Frame]) -> list[Frame]:
    """Join DATA of a stream up to its end, without padding."""
    whole: list[Frame] = []
    for kind, flags, stream, payload in found:
        if kind == frames.DATA and flags & frames.PADDED:
            payload, flags = frames.content(payload), flags & ~frames.PADDED
        if whole and kind == frames.DATA and whole[-1][:3] == (kind, 0, stream):
            whole[-1] = (kind, flags, stream, whole[-1][3] + payload)
        else:
            whole.append((kind, flags, stream, payload))
    return whole


@given(st.lists(SAID, max_size=6), st.lists(st.integers(1, 40_000), max_size=30))
def test_pieces_say_the_same_wherever_they_are_cut(said: list[tuple[bytes, Frame]], sizes: list[int]) -> None:
    whole = b"".join(frame for frame, _ in said)
    pieces, reader = Pieces(), FrameReader()
    found: list[Frame] = []
    at = 0
    for size in [*sizes, len(whole)]:
        found += reader.feed(pieces.feed(whole[at : at + size]))
        at += size
    assert joined(found) == joined([expected for _, expected in said])


@given(st.binary(max_size=200), st.lists(st.integers(1, 20), max_size=20))
def test_what_is_small_is_as_it_came(tail: bytes, sizes: list[int]) -> None:
    said = (
        frames.settings({1: 2}) + frames.frame(frames.DATA, 9, 1, b"\3abcd\0\0\0") + frames.frame(0x42, 0xFF, 7, tail)
    )
    pieces, out, at = Pieces(), b"", 0
    for size in [*sizes, len(said)]:
        out += pieces.feed(said[at : at + size])
        at += size
    assert out == said
    assert Pieces().feed(said) is said


@pytest.mark.parametrize("kind", [frames.HEADERS, frames.SETTINGS, frames.CONTINUATION, 0x42])
def test_other_large_frames_are_refused(kind: int) -> None:
    with pytest.raises(Http2Error) as error:
        Pieces().feed((FRAME_BYTES + 1).to_bytes(3) + bytes([kind]) + bytes(5))
    assert error.value.code == frames.FRAME_SIZE_ERROR


def test_large_frame_is_not_kept() -> None:
    pieces = Pieces()
    assert pieces.feed(large(16 * 1024 * 1024 - 1, 1, 1, b"")) == b""
    assert pieces.feed(bytes(1000)) == frames.data_head(1000, 0, 1) + bytes(1000)
