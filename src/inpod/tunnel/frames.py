"""Frames of the session-agent link, as bytes. No I/O here: see `streams`.

A frame is a 9-byte header, then its payload (docs/reference/tunnel.md):

    stream id  u32 big-endian
    kind       u8, a `Kind`
    length     u32 big-endian, payload bytes
"""

import struct
from enum import IntEnum

HEADER = struct.Struct(">IBI")

MAX_PAYLOAD = 128 * 1024
"""Largest payload, in bytes. Bounds what one frame can make us hold."""

ROOM = 512 * 1024
"""Bytes that one system call may bring in. Several large frames, so that bulk data costs few calls."""


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
    """Asks for a PONG, so that both ends know that the other is alive."""
    PONG = 8


class FrameError(Exception):
    """The peer sent what is no frame, or what the rules of `mux` forbid."""


Frame = tuple[int, int, bytes]
"""Stream id, kind, payload."""


def encode(stream: int, kind: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a frame."""
    return HEADER.pack(stream, kind, len(payload)) + payload


class FrameDecoder:
    """Turns bytes, cut anywhere, into frames.

    The bytes are written into `room` by whoever reads the link, so a payload is copied once, out of it.
    """

    def __init__(self) -> None:
        self._view = memoryview(bytearray(ROOM))
        self._start = 0
        self._end = 0

    def room(self) -> memoryview:
        """Return where the next bytes go: more than a whole frame, or what the current one still lacks."""
        if ROOM - self._end <= MAX_PAYLOAD + HEADER.size:
            rest = self._end - self._start
            self._view[:rest] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, rest
        return self._view[self._end :]

    def filled(self, size: int) -> list[Frame]:
        """Return the frames that the first `size` bytes of `room` complete, oldest first.

        Raises:
            FrameError: Unknown kind, or a payload over `MAX_PAYLOAD` bytes.
        """
        frames: list[Frame] = []
        view, unpack, head = self._view, HEADER.unpack_from, HEADER.size
        at, end = self._start, self._end + size
        while end - at >= head:
            stream, kind, length = unpack(view, at)
            # Plain numbers: an enum's members cost more than all else here.
            if length > MAX_PAYLOAD or not 1 <= kind <= 8:
                raise FrameError(f"a frame of kind {kind} with {length} bytes")
            after = at + head + length
            if after > end:
                break
            frames.append((stream, kind, bytes(view[at + head : after])))
            at = after
        if at == end:
            at = end = 0
        self._start, self._end = at, end
        return frames

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes; for those who cannot read into `room`.

        Raises:
            FrameError: As `filled`.
        """
        frames: list[Frame] = []
        rest = memoryview(data)
        while rest:
            room = self.room()
            size = min(len(room), len(rest))
            room[:size] = rest[:size]
            rest = rest[size:]
            frames += self.filled(size)
        return frames
