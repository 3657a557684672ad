"""Finds the ends of the answers in what a server sends. No I/O here."""

from enum import Enum

from inpod.agent.incoming.http.body import Body, body_of
from inpod.agent.incoming.http.fields import UNTIL_CLOSE, NotHttp
from inpod.agent.incoming.http.head import Manner, Request, Response, head_end, known_response, parse_response

_STATUS_BEGIN = b"HTTP/1."


class Turn(Enum):
    """What becomes of a connection that no longer is one request after the other."""

    TUNNEL = "tunnel"
    """Another protocol from here on: an upgrade, or CONNECT."""
    CLOSE = "close"
    """The latest answer was the last."""
    UNTIL_CLOSE = "until close"
    """This answer is the last; it ends with the connection."""
    ODD = "odd"
    """No answer that all readers understand alike: where it ends is not known."""


class AnswerReader:
    """Takes what one server sends, cut anywhere; all but a needless "100 Continue" is given back, byte by byte.

    Attributes:
        waiting: The requests that have no complete answer, the oldest first.
        turn: Once it is set, nothing is read any more, only given back.
    """

    __slots__ = ("_body", "_data", "_keeps_alive", "_searched", "_swallows", "turn", "waiting")

    def __init__(self) -> None:
        self.turn: Turn | None = None
        # No deque: an empty one takes ten times as much, and these are few.
        self.waiting: list[Manner] = []
        self._swallows = False
        self._keeps_alive = True
        self._data = b""
        self._searched = 0
        self._body: Body | None = None

    def expect(self, request: Request, *, swallows_continue: bool = False) -> None:
        """Note a request that was sent.

        Args:
            swallows_continue: The client has its "100 Continue" already. Only for a request that waits alone.
        """
        if swallows_continue:
            assert not self.waiting
            self._swallows = True
        self.waiting.append(request.manner)

    def feed(self, data: bytes) -> bytes:
        """Return what the client is to get."""
        if self.turn is not None:
            return data
        if not self._data and self._body is None and self.waiting and self._is_plain(data):
            self.waiting.pop(0)
            self._swallows = False
            return data
        if self._data:
            data, self._data = self._data + data, b""
        given: list[bytes] = []
        at = start = 0
        size = len(data)
        while at < size and self.turn is None:
            if self._body is not None:
                at = self._take_body(data, at)
                if self._body is not None and self.turn is None:
                    break
                continue
            try:
                end = self._head(data, at)
                if end < 0:
                    break
                response = parse_response(data[at:end] if end - at < size else data)
            except NotHttp:
                self.turn = Turn.ODD
                break
            if response.status == 100 and self._swallows:
                self._swallows = False
                given.append(data[start:at])
                start = end
            else:
                end = self._begin(response, end, size)
            at = end
        self._searched = 0
        if self.turn is not None:
            at = size
        elif at < size:
            self._data = data[at:]
            self._searched = size - at if self._body is None else 0
        if not given:
            return data if at - start == size else data[start:at]
        given.append(data[start:at])
        return b"".join(given)

    def rest(self) -> bytes:
        """Return what was kept because it was not complete."""
        rest, self._data = self._data, b""
        return rest

    def _is_plain(self, data: bytes) -> bool:
        """Whether this is just one whole answer whose head was seen before, as most are."""
        end = data.find(b"\r\n\r\n") + 4
        response = known_response(data[:end])
        return (
            response is not None
            and response.is_plain
            and response.length == len(data) - end
            and self.waiting[0].has_plain_answer
        )

    def _head(self, data: bytes, at: int) -> int:
        if not self.waiting:
            raise NotHttp("an answer came that nobody asked for")
        if not data.startswith(_STATUS_BEGIN, at) and not _STATUS_BEGIN.startswith(data[at : at + 7]):
            raise NotHttp("its answer has no status line")
        return head_end(data, at, max(at, self._searched))

    def _begin(self, response: Response, at: int, size: int) -> int:
        """Begin an answer whose head ends at `at`; return how far it is done with."""
        status, request = response.status, self.waiting[0]
        if status == 101 or (request.is_connect and 200 <= status < 300):
            self.turn = Turn.TUNNEL
        elif status < 200:
            pass  # an interim answer
        elif request.has_no_answer_body or status in (204, 304) or response.length == 0:
            self._finish(response.keeps_alive)
        elif response.length == UNTIL_CLOSE:
            self.turn = Turn.UNTIL_CLOSE
        elif 0 < response.length <= size - at:
            self._finish(response.keeps_alive)
            return at + response.length
        else:
            self._body = body_of(response.length)
            self._keeps_alive = response.keeps_alive
        return at

    def _take_body(self, data: bytes, at: int) -> int:
        assert self._body is not None
        end = self._body.take(data, at, None)
        if self._body.broken is not None:
            self.turn = Turn.ODD
        elif self._body.is_done:
            self._body = None
            self._finish(self._keeps_alive)
        return end

    def _finish(self, keeps_alive: bool) -> None:
        request = self.waiting.pop(0)
        self._swallows = False
        if not (keeps_alive and request.keeps_alive):
            self.turn = Turn.CLOSE
