"""Frames of HTTP/2, as bytes (RFC 9113 sections 4 and 6). No I/O here.

A frame is a 9-byte header, then its payload:

    length     u24 big-endian, payload bytes
    kind       u8
    flags      u8
    stream     u32 big-endian, the highest bit is ignored

Integers instead of an Enum: this runs several times for each request.
"""

import struct
from collections.abc import Iterator

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
HAS_PRIORITY = 0x20

(
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM,
) = range(12)  # fmt: skip

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
ENABLE_CONNECT_PROTOCOL = 8

HEADER_BYTES = 9
FRAME_BYTES = 16384
"""Largest payload we take, and the largest that everybody must take: so whatever came may be sent on."""

MAX_BLOCK = 64 * 1024
"""Most bytes of a header block, with its CONTINUATIONs."""

MAX_CONTINUATIONS = 256
"""Most frames of a header block: they need not make it longer."""

MAX_WINDOW = 2**31 - 1
MAX_STREAM = 2**31 - 1
WINDOW = 65535
"""Bytes that may be sent at first, on a stream and on a connection."""

_HEADER = struct.Struct(">BHBBI")
_SETTING = struct.Struct(">HI")
_U32 = struct.Struct(">I")
_WINDOW_UPDATE = struct.Struct(">BHBBII")
_GOAWAY = struct.Struct(">II")

# Kinds whose payload has one length.
_SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}

Frame = tuple[int, int, int, bytes]
"""Kind, flags, stream, payload. The payload of HEADERS is the whole block, without padding and priority; that of DATA has its
padding, which counts in flow control."""


class Http2Error(Exception):
    """The peer broke the rules, or asks too much: its connection ends.

    Attributes:
        code: For GOAWAY.
        reason: The same in words.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """Turns bytes, cut anywhere, into frames."""

    __slots__ = ("_block", "_block_flags", "_block_frames", "_block_size", "_block_stream", "_rest")

    def __init__(self) -> None:
        self._rest = b""
        self._block: list[bytes] = []
        self._block_stream = 0
        self._block_flags = 0
        self._block_frames = 0
        self._block_size = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes, oldest first. To be used up before the next call.

        Raises:
            Http2Error: A frame is larger than allowed, or not where it may be; or a header block is too large.
        """
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, end = 0, len(data)
        unpack = _HEADER.unpack_from
        while end - at >= HEADER_BYTES:
            high, low, kind, flags, stream = unpack(data, at)
            size = high << 16 | low
            if size > FRAME_BYTES:
                raise Http2Error(FRAME_SIZE_ERROR, "frame over 16 KiB")
            until = at + HEADER_BYTES + size
            if until > end:
                break
            payload = data[at + HEADER_BYTES : until]
            at = until
            stream &= MAX_STREAM
            if self._block_stream:
                if kind != CONTINUATION or stream != self._block_stream:
                    raise Http2Error(PROTOCOL_ERROR, "header block interrupted")
                self._block_frames += 1
                self._add(payload)
                if flags & END_HEADERS:
                    yield HEADERS, self._block_flags, stream, self._joined()
            elif kind == DATA:
                if not stream:
                    raise Http2Error(PROTOCOL_ERROR, "DATA without a stream")
                if flags & PADDED:
                    content(payload)
                yield kind, flags, stream, payload
            elif kind == HEADERS:
                if not stream:
                    raise Http2Error(PROTOCOL_ERROR, "HEADERS without a stream")
                if flags & (PADDED | HAS_PRIORITY):
                    payload = _fragment(flags, payload)
                if flags & END_HEADERS:
                    yield kind, flags, stream, payload
                else:
                    self._block_stream, self._block_flags = stream, flags
                    self._add(payload)
            else:
                _check(kind, flags, stream, size)
                yield kind, flags, stream, payload
        if at < end:
            self._rest = data[at:]

    def _add(self, fragment: bytes) -> None:
        self._block.append(fragment)
        self._block_size += len(fragment)
        if self._block_size > MAX_BLOCK or self._block_frames > MAX_CONTINUATIONS:
            raise Http2Error(ENHANCE_YOUR_CALM, "header block too large")

    def _joined(self) -> bytes:
        block = b"".join(self._block)
        self._block.clear()
        self._block_stream = self._block_frames = self._block_size = 0
        return block


def content(payload: bytes) -> bytes:
    """Return the payload of a padded frame without its padding.

    Raises:
        Http2Error: There is more padding than payload.
    """
    if not payload:
        raise Http2Error(FRAME_SIZE_ERROR, "padding without its length")
    if payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _fragment(flags: int, payload: bytes) -> bytes:
    if flags & PADDED:
        payload = content(payload)
    if flags & HAS_PRIORITY:
        if len(payload) < 5:
            raise Http2Error(FRAME_SIZE_ERROR, "priority cut short")
        payload = payload[5:]
    return payload


def _check(kind: int, flags: int, stream: int, size: int) -> None:
    """Raise for what is wrong whatever stands in the payload."""
    if kind == CONTINUATION:
        raise Http2Error(PROTOCOL_ERROR, "CONTINUATION of nothing")
    if size != _SIZES.get(kind, size) or (kind == SETTINGS and size % 6) or (kind == GOAWAY and size < 8):
        raise Http2Error(FRAME_SIZE_ERROR, "length of a frame of its kind")
    if kind == SETTINGS and flags & ACK and size:
        raise Http2Error(FRAME_SIZE_ERROR, "settings in an acknowledgement")
    if kind in (SETTINGS, PING, GOAWAY) and stream:
        raise Http2Error(PROTOCOL_ERROR, "stream of a frame for the connection")
    if kind in (PRIORITY, RST_STREAM, PUSH_PROMISE) and not stream:
        raise Http2Error(PROTOCOL_ERROR, "frame without a stream")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame; `payload` is FRAME_BYTES long at most."""
    size = len(payload)
    return _HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def data_head(size: int, flags: int, stream: int) -> bytes:
    """Return what stands before `size` bytes of DATA."""
    return _HEADER.pack(0, size, DATA, flags, stream)


def headers(flags: int, stream: int, block: bytes) -> bytes:
    """Return the frames of a header block of any length. `flags`: END_STREAM or 0."""
    size = len(block)
    if size <= FRAME_BYTES:
        return _HEADER.pack(0, size, HEADERS, flags | END_HEADERS, stream) + block
    parts = [frame(HEADERS, flags, stream, block[:FRAME_BYTES])]
    for at in range(FRAME_BYTES, size, FRAME_BYTES):
        is_last = at + FRAME_BYTES >= size
        parts.append(frame(CONTINUATION, END_HEADERS * is_last, stream, block[at : at + FRAME_BYTES]))
    return b"".join(parts)


def window_update(stream: int, size: int) -> bytes:
    """Return a WINDOW_UPDATE."""
    return _WINDOW_UPDATE.pack(0, 4, WINDOW_UPDATE, 0, stream, size)


def rst_stream(stream: int, code: int) -> bytes:
    """Return a RST_STREAM."""
    return _WINDOW_UPDATE.pack(0, 4, RST_STREAM, 0, stream, code)


def settings(values: dict[int, int]) -> bytes:
    """Return a SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def goaway(last_stream: int, code: int, reason: str = "") -> bytes:
    """Return a GOAWAY."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last_stream, code) + reason.encode())


def read_u32(payload: bytes) -> int:
    """Return the number in a WINDOW_UPDATE (its highest bit ignored by the caller) or RST_STREAM."""
    return int(_U32.unpack(payload)[0])


def read_goaway(payload: bytes) -> tuple[int, int]:
    """Return the last stream and the error code of a GOAWAY."""
    last_stream, code = _GOAWAY.unpack_from(payload)
    return last_stream & MAX_STREAM, code


def read_settings(payload: bytes) -> dict[int, int]:
    """Return the values of a SETTINGS by their identifiers; the last one of each counts.

    Raises:
        Http2Error: A value is out of its range.
    """
    values: dict[int, int] = dict(_SETTING.iter_unpack(payload))
    if values.get(ENABLE_PUSH, 0) > 1 or values.get(ENABLE_CONNECT_PROTOCOL, 0) > 1:
        raise Http2Error(PROTOCOL_ERROR, "setting is neither 0 nor 1")
    if values.get(INITIAL_WINDOW_SIZE, 0) > MAX_WINDOW:
        raise Http2Error(FLOW_CONTROL_ERROR, "initial window too large")
    if not FRAME_BYTES <= values.get(MAX_FRAME_SIZE, FRAME_BYTES) < 1 << 24:
        raise Http2Error(PROTOCOL_ERROR, "frame size out of its range")
    return values
