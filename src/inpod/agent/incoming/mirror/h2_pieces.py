"""Frames of any size as frames that everybody takes. No I/O here.

A client sends frames as large as the original allows, up to 16 MiB, and what that allows is not seen in a copy. Those of DATA
are cut while they come, so that none has to be kept; header blocks stay small.
"""

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_frames import DATA, END_STREAM, FRAME_BYTES, FRAME_SIZE_ERROR, HEADER_BYTES, PADDED


class Pieces:
    """Takes bytes, cut anywhere, and returns the same frames, those of DATA that are too large in pieces."""

    __slots__ = ("_flags", "_head", "_is_cut", "_left", "_padding", "_stream")

    def __init__(self) -> None:
        self._head = b""  # of a frame, not complete
        self._left = 0  # payload of the current frame that is still to come
        # Of a frame that is cut:
        self._is_cut = False
        self._flags = 0
        self._stream = 0
        self._padding = -1  # bytes of it; -1: the length of the padding is due

    def feed(self, data: bytes) -> bytes:
        """Return what `data` gives.

        Raises:
            Http2Error: A frame that is not of DATA is too large.
        """
        if self._head:
            data, self._head = self._head + data, b""
        out: list[bytes] = []
        at = kept = 0  # what is between is returned as it came
        end = len(data)
        while at < end:
            if self._is_cut:
                at = kept = self._cut(data, at, out)
            elif self._left:
                step = min(self._left, end - at)
                self._left -= step
                at += step
            elif end - at < HEADER_BYTES:
                self._head = data[at:]
                break
            else:
                if self._begin(data, at):
                    out.append(data[kept:at])
                    kept = at + HEADER_BYTES
                at += HEADER_BYTES
        if not out and not kept:
            return data if at == end else data[:at]
        out.append(data[kept:at])
        return b"".join(out)

    def _begin(self, data: bytes, at: int) -> bool:
        """Read the header of a frame; return whether the frame is cut."""
        self._left = size = int.from_bytes(data[at : at + 3])
        self._is_cut = size > FRAME_BYTES
        if self._is_cut:
            kind, self._flags = data[at + 3], data[at + 4]
            if kind != DATA:
                raise frames.Http2Error(FRAME_SIZE_ERROR, "frame over 16 KiB that is not of DATA")
            self._stream = int.from_bytes(data[at + 5 : at + HEADER_BYTES]) & frames.MAX_STREAM
            self._padding = -1 if self._flags & PADDED else 0
        return self._is_cut

    def _cut(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Take what came of a frame that is cut, without its padding; return where that ends."""
        if self._padding < 0:
            self._padding = data[at]
            self._left -= 1
            at += 1
        # At least one byte is left of it: it is longer than its padding can be.
        while (content := min(self._left - self._padding, len(data) - at, FRAME_BYTES)) > 0:
            self._left -= content
            is_last = self._left == self._padding
            out += (
                frames.data_head(content, self._flags & END_STREAM * is_last, self._stream),
                data[at : at + content],
            )
            at += content
        if self._left <= self._padding:
            step = min(self._left, len(data) - at)
            self._left -= step
            self._padding -= step
            at += step
            self._is_cut = self._left > 0
        return at
