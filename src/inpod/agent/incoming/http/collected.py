"""What is read of a body for a filter that looks at it. No I/O here."""

from inpod.agent.incoming.http.requests import RequestReader

MAX_BODY = 64 * 1024
"""Most bytes of a body that a filter gets to see."""

MAX_RAW = 2 * MAX_BODY
"""Most bytes that are kept for it: tiny chunks have more around them than in them."""


class Collected:
    """The body of one request, as far as it came.

    Attributes:
        is_enough: No more is wanted.
        owes_continue: The client may be waiting for "100 Continue".
        is_continued: We said it.
    """

    __slots__ = ("_content", "_raw_size", "_size", "is_continued", "owes_continue")

    def __init__(self, *, owes_continue: bool = False) -> None:
        self.owes_continue = owes_continue
        self.is_continued = False
        self._content: list[bytes] = []
        self._size = 0
        self._raw_size = 0

    @property
    def is_enough(self) -> bool:
        return self._size >= MAX_BODY or self._raw_size >= MAX_RAW

    def take(self, reader: RequestReader) -> bytes:
        """Take what came of the body; return it as it came."""
        fresh: list[bytes] = []
        raw = reader.body(fresh)
        if raw:
            self.owes_continue = False
            self._content += fresh
            self._size += sum(map(len, fresh))
            self._raw_size += len(raw)
        return raw

    def continued(self) -> None:
        """Note that the client was told to go on."""
        self.owes_continue = False
        self.is_continued = True

    def body(self) -> bytes:
        """Return what a filter gets to see."""
        return b"".join(self._content)[:MAX_BODY]

    def let_go(self) -> None:
        """Keep nothing of it: it was looked at."""
        self._content = []
