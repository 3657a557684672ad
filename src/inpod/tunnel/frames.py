"""Frames of the session-agent link, as bytes. No I/O here: see `streams`.

A frame is a 9-byte header, then its payload (docs/reference/tunnel.md):

    stream id  u32 big-endian
    kind       u8, a `Kind`
    length     u32 big-endian, payload bytes
"""

import struct
from enum import IntEnum

HEADER = struct.Struct(">IBI")

MAX_PAYLOAD = 64 * 1024
"""Largest payload, in bytes. Bounds what one frame can make us hold."""


class Kind(IntEnum):
    """What a frame does to its stream; PING and PONG have stream id 0."""

    OPEN = 1
    """Begins a stream; payload: a request."""
    ACCEPT = 2
    """The far end took it; payload: its answer."""
    DATA = 3
    """Bytes, within the credit that the receiver gave."""
    EOF = 4
    """No more data this way."""
    RESET = 5
    """Ends the stream both ways at once; payload: a refusal."""
    CREDIT = 6
    """Payload: u32, so many more bytes of data may be sent."""
    PING = 7
    PONG = 8


class FrameError(Exception):
    """The peer sent what is no frame."""


Frame = tuple[int, int, bytes]
"""Stream id, kind, payload."""


def encode(stream: int, kind: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    return HEADER.pack(stream, kind, len(payload)) + payload


def decode(view: memoryview, start: int, end: int) -> tuple[list[Frame], int]:
    """Return the whole frames in `view[start:end]`, oldest first, and where the next one begins.

    Raises:
        FrameError: Unknown kind, or a payload over `MAX_PAYLOAD` bytes.
    """
    frames: list[Frame] = []
    unpack, size = HEADER.unpack_from, HEADER.size
    while end - start >= size:
        stream, kind, length = unpack(view, start)
        if length > MAX_PAYLOAD or not Kind.OPEN <= kind <= Kind.PONG:
            raise FrameError(f"kind {kind} with {length} bytes")
        if end - start - size < length:
            break
        start += size
        frames.append((stream, kind, bytes(view[start : start + length])))
        start += length
    return frames, start
