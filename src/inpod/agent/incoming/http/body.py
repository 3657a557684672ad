"""Where the body of an HTTP/1 message ends (RFC 9112 sections 6 and 7). No I/O here.

Bytes are never changed: a body says how many of those that came are its own, and may be passed on.
"""

from typing import Protocol

from inpod.agent.incoming.http.fields import CHUNKED, MAX_FIELDS, TEXT, UNTIL_CLOSE, NotHttp, check_trailer

MAX_LINE = 4096
"""Longest line between chunks, in bytes: a size with its extensions, or a trailer."""

_MAX_SIZE_DIGITS = 15
_HEX = b"0123456789abcdefABCDEF"


class Body(Protocol):
    """A body of which bytes come, cut anywhere.

    Attributes:
        is_done: It is complete.
        broken: Why what follows is no body that all readers understand alike; None as long as it is one.
    """

    is_done: bool
    broken: str | None

    def take(self, data: bytes, at: int, content: list[bytes] | None) -> int:
        """Return where in `data` the part ends that belongs to the body and is complete so far.

        Args:
            at: Where in `data` the body goes on.
            content: Takes what the part carries, without chunks; None when nobody looks at it.
        """


def body_of(length: int) -> Body:
    """Return a body of `length` bytes, or in chunks, or until the connection closes."""
    if length == CHUNKED:
        return Chunked()
    return Counted(length)


class Counted:
    """A body of a known length, or without end."""

    __slots__ = ("_left", "broken", "is_done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_done = length == 0
        self.broken: str | None = None

    def take(self, data: bytes, at: int, content: list[bytes] | None) -> int:
        """Take up to the end of the body."""
        if self._left == UNTIL_CLOSE:
            end = len(data)
        else:
            end = min(len(data), at + self._left)
            self._left -= end - at
            self.is_done = not self._left
        if content is not None:
            content.append(data[at:end])
        return end


class Chunked:
    """A body in chunks. Lines that are not complete are not taken yet."""

    __slots__ = ("_is_trailer", "_left", "_trailers", "broken", "is_done")

    def __init__(self) -> None:
        self._left = -1  # of the chunk's data; 0: its line end is due; -1: a size is due
        self._is_trailer = False
        self._trailers = 0
        self.is_done = False
        self.broken: str | None = None

    def take(self, data: bytes, at: int, content: list[bytes] | None) -> int:
        """Take chunks and parts of chunks, then the trailers."""
        size = len(data)
        try:
            while at < size and not self.is_done:
                if self._left > 0:
                    end = min(size, at + self._left)
                    if content is not None:
                        content.append(data[at:end])
                    self._left -= end - at
                    at = end
                elif self._left == 0:
                    if not b"\r\n".startswith(data[at : at + 2]):
                        raise NotHttp("a chunk is longer than it says")
                    if at + 2 > size:
                        break
                    at += 2
                    self._left = -1
                else:
                    end = data.find(b"\r\n", at, at + MAX_LINE + 2)
                    if end < 0:
                        self._check_part(data, at)
                        break
                    self._line(data[at:end])
                    at = end + 2
        except NotHttp as reason:
            self.broken = str(reason)
        return at

    def _line(self, line: bytes) -> None:
        if self._is_trailer:
            if not line:
                self.is_done = True
                return
            self._trailers += 1
            if self._trailers > MAX_FIELDS:
                raise NotHttp("it has too many trailers")
            check_trailer(line)
            return
        digits, _, extension = line.partition(b";")
        if not digits or len(digits) > _MAX_SIZE_DIGITS or digits.translate(None, _HEX):
            raise NotHttp("the size of a chunk is not correct")
        if extension.translate(None, TEXT):
            raise NotHttp("the extension of a chunk is not correct")
        if left := int(digits, 16):
            self._left = left
        else:
            self._is_trailer = True

    def _check_part(self, data: bytes, at: int) -> None:
        """Refuse what cannot become a line: a lenient reader would go on with it."""
        if len(data) - at >= MAX_LINE + 2:
            raise NotHttp("a line between chunks is too long")
        if data.find(b"\n", at) >= 0:
            raise NotHttp("a line between chunks ends with LF only")
