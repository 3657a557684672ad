"""Who gets a request: what the readers of HTTP/1 and HTTP/2 ask, and what the rules of the sessions answer."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from inpod.tunnel.stream import Stream

MAX_SHARED = 2048
"""Longest head, in bytes, that is one object for all who say the same. A longer one is kept by nobody who is at rest."""


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request, of either version of HTTP.

    Attributes:
        method: As sent: b"GET".
        target: As sent, or HTTP/2's :path: b"/a?b=c", also b"http://host/a" or b"*".
        headers: Names as sent (HTTP/2: in lower case; :authority stands as b"host" when there is no host), values
            without white space around them, in order. Pseudo headers are left out.
        size: Bytes that it came in.
    """

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    size: int = field(default=0, compare=False)


class Fate(Enum):
    """Answers that name no session."""

    ORIGINAL = "original"
    """No filter matches: the original gets it."""
    NEEDS_BODY = "needs body"
    """A filter looks at the body: ask again with it (or what there is of it at the bound)."""


class Taker(Protocol):
    """A session that takes requests of a port. Compared by identity."""

    def open(self) -> Stream:
        """Open a stream for a connection with matched requests: as `Incoming` does for a stolen connection.

        Raises:
            StreamRefused: The session is not there.
        """


class Chooser(Protocol):
    """The filters of all sessions on one port."""

    def choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        """Return who gets a request.

        Args:
            body: The whole body, decoded from chunks; None when it was not read. b"" when there is none. A body over the
                bound, or one that does not come in time, is given as far as it came, and the answer is never NEEDS_BODY.
        """
