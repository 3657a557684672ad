"""Frames, cut anywhere, and those that are not as they may be."""

import pytest
from hyperframe import frame as library
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_frames import Frame, FrameReader, Http2Error

BLOCK = bytes(range(256)) * 100

FRAMES: list[tuple[bytes, Frame]] = [
    (frames.frame(frames.DATA, frames.END_STREAM, 1, b"data"), (frames.DATA, frames.END_STREAM, 1, b"data")),
    (frames.frame(frames.DATA, 0, 2**31 + 5), (frames.DATA, 0, 5, b"")),
    # Padding of DATA counts in flow control, so it stays.
    (frames.frame(frames.DATA, frames.PADDED, 1, b"\2ab\0\0"), (frames.DATA, frames.PADDED, 1, b"\2ab\0\0")),
    (frames.headers(0, 3, BLOCK), (frames.HEADERS, 0, 3, BLOCK)),
    (
        frames.frame(frames.HEADERS, 0x2C, 1, b"\3" + b"prior" + b"block" + b"\0\0\0"),
        (frames.HEADERS, 0x2C, 1, b"block"),
    ),
    (
        frames.frame(frames.HEADERS, 1, 1, b"") + frames.frame(frames.CONTINUATION, 4, 1, b"block"),
        (frames.HEADERS, 1, 1, b"block"),
    ),
    (frames.settings({4: 10, 3: 1}), (frames.SETTINGS, 0, 0, b"\0\4\0\0\0\x0a\0\3\0\0\0\1")),
    (frames.window_update(0, 7), (frames.WINDOW_UPDATE, 0, 0, b"\0\0\0\7")),
    (frames.rst_stream(9, 8), (frames.RST_STREAM, 0, 9, b"\0\0\0\x08")),
    (frames.goaway(5, 2, "why"), (frames.GOAWAY, 0, 0, b"\0\0\0\5\0\0\0\2why")),
    (frames.frame(0x42, 0xFF, 0, b"unknown"), (0x42, 0xFF, 0, b"unknown")),
]

BROKEN: dict[str, tuple[bytes, int]] = {
    "frame too large": (b"\0\x40\x01\0\0\0\0\0\1", frames.FRAME_SIZE_ERROR),
    "DATA of no stream": (frames.frame(frames.DATA, 0, 0), frames.PROTOCOL_ERROR),
    "HEADERS of no stream": (frames.headers(0, 0, b""), frames.PROTOCOL_ERROR),
    "RST_STREAM of no stream": (frames.rst_stream(0, 1), frames.PROTOCOL_ERROR),
    "SETTINGS of a stream": (frames.frame(frames.SETTINGS, 0, 1), frames.PROTOCOL_ERROR),
    "PING of a stream": (frames.frame(frames.PING, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
    "GOAWAY of a stream": (frames.frame(frames.GOAWAY, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
    "PING of 7 bytes": (frames.frame(frames.PING, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
    "SETTINGS of 5 bytes": (frames.frame(frames.SETTINGS, 0, 0, bytes(5)), frames.FRAME_SIZE_ERROR),
    "SETTINGS in an acknowledgement": (frames.frame(frames.SETTINGS, 1, 0, bytes(6)), frames.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 3 bytes": (frames.frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), frames.FRAME_SIZE_ERROR),
    "RST_STREAM of 5 bytes": (frames.frame(frames.RST_STREAM, 0, 1, bytes(5)), frames.FRAME_SIZE_ERROR),
    "PRIORITY of 4 bytes": (frames.frame(frames.PRIORITY, 0, 1, bytes(4)), frames.FRAME_SIZE_ERROR),
    "GOAWAY of 7 bytes": (frames.frame(frames.GOAWAY, 0, 0, bytes(7)), frames.FRAME_SIZE_ERROR),
    "padding without a length": (frames.frame(frames.DATA, frames.PADDED, 1), frames.FRAME_SIZE_ERROR),
    "padding over all": (frames.frame(frames.DATA, frames.PADDED, 1, b"\4abc"), frames.PROTOCOL_ERROR),
    "padding over a priority": (frames.frame(frames.HEADERS, 0x2C, 1, b"\4" + bytes(8)), frames.FRAME_SIZE_ERROR),
    "CONTINUATION of nothing": (frames.frame(frames.CONTINUATION, 4, 1), frames.PROTOCOL_ERROR),
    "block interrupted": (frames.frame(frames.HEADERS, 0, 1) + frames.frame(frames.PING, 0, 0, bytes(8)), frames.PROTOCOL_ERROR),
    "block of another stream": (frames.frame(frames.HEADERS, 0, 1) + frames.frame(frames.CONTINUATION, 4, 3), frames.PROTOCOL_ERROR),
    "block too large": (frames.headers(0, 1, bytes(frames.MAX_BLOCK + 1)), frames.ENHANCE_YOUR_CALM),
    "endless CONTINUATIONs": (
        frames.frame(frames.HEADERS, 0, 1) + frames.frame(frames.CONTINUATION, 0, 1) * (frames.MAX_CONTINUATIONS + 1),
        frames.ENHANCE_YOUR_CALM,
    ),
}  # fmt: skip


@given(st.lists(st.sampled_from(FRAMES), max_size=8), st.lists(st.integers(1, 20_000), max_size=40))
def test_frames_cut_anywhere_are_the_same(chosen: list[tuple[bytes, Frame]], sizes: list[int]) -> None:
    data = b"".join(encoded for encoded, _ in chosen)
    reader = FrameReader()
    found: list[Frame] = []
    at = 0
    for size in [*sizes, len(data)]:
        found += reader.feed(data[at : at + size])
        at += size
    assert found == [expected for _, expected in chosen]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_frames_are_refused_with_their_code(name: str) -> None:
    data, code = BROKEN[name]
    good, expected = FRAMES[0]
    reader = FrameReader()
    found: list[Frame] = []
    with pytest.raises(Http2Error) as error:
        # Extended one by one: what comes before the error counts.
        found.extend(reader.feed(good + data + good))
    assert error.value.code == code
    assert found == [expected]


def test_largest_block_and_frame_are_taken() -> None:
    reader = FrameReader()
    block = bytes(frames.MAX_BLOCK)
    assert list(reader.feed(frames.headers(frames.END_STREAM, 1, block))) == [
        (frames.HEADERS, frames.END_STREAM, 1, block)
    ]
    data = bytes(frames.FRAME_BYTES)
    assert list(reader.feed(frames.frame(frames.DATA, 0, 1, data))) == [(frames.DATA, 0, 1, data)]


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_refused(data: bytes) -> None:
    whole, pieces = FrameReader(), FrameReader()
    found: list[list[Frame]] = [[], []]
    codes: list[int | None] = [None, None]
    try:
        found[0] += whole.feed(data)
    except Http2Error as error:
        codes[0] = error.code
    try:
        for byte in data:
            found[1] += pieces.feed(bytes((byte,)))
    except Http2Error as error:
        codes[1] = error.code
    assert codes[0] == codes[1]
    if codes[0] is None:
        assert found[0] == found[1]


def test_another_implementation_reads_what_we_write() -> None:
    for encoded, _ in FRAMES:
        at = 0
        while at < len(encoded):
            frame, size = library.Frame.parse_frame_header(memoryview(encoded[at : at + 9]))
            frame.parse_body(memoryview(encoded[at + 9 : at + 9 + size]))
            at += 9 + size
        assert at == len(encoded)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({frames.ENABLE_PUSH: 2}, frames.PROTOCOL_ERROR),
        ({frames.ENABLE_CONNECT_PROTOCOL: 2}, frames.PROTOCOL_ERROR),
        ({frames.INITIAL_WINDOW_SIZE: 2**31}, frames.FLOW_CONTROL_ERROR),
        ({frames.MAX_FRAME_SIZE: 16383}, frames.PROTOCOL_ERROR),
        ({frames.MAX_FRAME_SIZE: 2**24}, frames.PROTOCOL_ERROR),
    ],
)
def test_settings_out_of_their_range_are_refused(values: dict[int, int], code: int) -> None:
    with pytest.raises(Http2Error) as error:
        frames.read_settings(frames.settings(values)[frames.HEADER_BYTES :])
    assert error.value.code == code


def test_last_value_of_a_setting_counts() -> None:
    assert frames.read_settings(frames.settings({4: 1})[9:] + frames.settings({4: 2, 0x99: 5})[9:]) == {4: 2, 0x99: 5}
