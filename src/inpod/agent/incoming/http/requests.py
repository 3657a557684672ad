"""Finds the requests in what a client sends. No I/O here."""

from inpod.agent.incoming.http.body import Body, body_of
from inpod.agent.incoming.http.fields import NotHttp
from inpod.agent.incoming.http.head import Request, check_request_begin, head_end, parse_request


class RequestReader:
    """Takes bytes, cut anywhere; gives heads and parts of bodies, in turn.

    Attributes:
        body_is_done: Nothing of the latest request is missing.
        broken: Why the rest is no HTTP/1 that all readers understand alike; None as long as it is. Then only `rest` is
            of use: the first byte that was not given yet, and all that follow.
    """

    __slots__ = ("_at", "_body", "_data", "_searched", "body_is_done", "broken")

    def __init__(self) -> None:
        self.body_is_done = True
        self.broken: str | None = None
        self._data = b""
        self._at = 0
        self._searched = 0
        self._body: Body | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all was given."""
        return self._at == len(self._data)

    def feed(self, data: bytes) -> None:
        """Take what came."""
        if self._at == len(self._data):
            self._data = data
            self._searched = 0
        else:
            self._data = self._data[self._at :] + data
            self._searched -= self._at
        self._at = 0

    def head(self) -> tuple[Request, bytes] | None:
        """Return the next request, and its head as it is passed on; its body is to be taken first.

        None when the head is not complete, or broken.
        """
        data, at = self._data, self._at
        if at == len(data) or self.broken is not None:
            return None
        try:
            end = head_end(data, at, self._searched)
            if end < 0:
                self._searched = len(data)
                check_request_begin(data, at)
                return None
            raw = data if end - at == len(data) else data[at:end]
            request = parse_request(raw)
        except NotHttp as reason:
            self.broken = str(reason)
            return None
        self._go_on_at(end)
        self.body_is_done = not request.length
        if request.length:
            self._body = body_of(request.length)
        return request, request.passed or raw

    def body(self, content: list[bytes] | None = None) -> bytes:
        """Return what came of the body; what it carries goes to `content`, too."""
        if self.body_is_done or self._body is None or self.broken is not None:
            return b""
        data, at = self._data, self._at
        end = self._body.take(data, at, content)
        self.body_is_done = self._body.is_done
        self.broken = self._body.broken
        self._go_on_at(end)
        return data if end - at == len(data) else data[at:end]

    def rest(self) -> bytes:
        """Return all that was not given yet."""
        rest, self._data, self._at = self._data[self._at :], b"", 0
        return rest

    def _go_on_at(self, at: int) -> None:
        if at == len(self._data):
            # Nothing is kept of what was given: the client may be at rest for long.
            self._data, at = b"", 0
        self._at = self._searched = at
