"""A copy of those requests of an HTTP/1 connection that a session's filter matches, one after the other on one connection."""

from collections.abc import Callable

from inpod.agent.incoming.http.choice import Taker
from inpod.agent.incoming.http.splitter import Choose, RequestSplitter
from inpod.agent.incoming.mirror.copy import Copy


class Http1Copy:
    """Stands where a `Copy` does.

    Attributes:
        lost: Why the rest of the connection cannot be split; None as long as it can.
        http2: What came from where the connection went on in HTTP/2; None as long as it did not.
    """

    def __init__(self, choose: Choose, open_copy: Callable[[], Copy]) -> None:
        self._open_copy = open_copy
        self._splitter = RequestSplitter(choose)
        self._copy: Copy | None = None

    @property
    def lost(self) -> str | None:
        return self._splitter.lost

    @property
    def http2(self) -> bytes | None:
        return self._splitter.http2

    @property
    def is_over(self) -> bool:
        """As of a `Copy`; also when what follows cannot be split into requests."""
        return self._splitter.lost is not None or (self._copy is not None and self._copy.is_over)

    @property
    def is_answered(self) -> bool:
        """As of a `Copy`."""
        return self._copy is not None and self._copy.is_answered

    def write(self, data: bytes) -> int:
        """As of a `Copy`: return how many chunks are lost."""
        lost = self._pass_on(self._splitter.feed(data))
        if self._splitter.lost is not None and self._copy is not None:
            self._copy.cut()
        return lost

    def finish(self) -> None:
        """As of a `Copy`. A request whose body did not come is decided by what there is of it."""
        self._pass_on(self._splitter.decide())
        if self._copy is not None:
            self._copy.finish()

    def abort(self) -> None:
        """As of a `Copy`."""
        if self._copy is not None:
            self._copy.abort()

    def flush(self) -> None:
        """As of a `Copy`."""
        if self._copy is not None:
            self._copy.flush()

    def cut(self) -> None:
        """As of a `Copy`."""
        if self._copy is not None:
            self._copy.cut()

    def _pass_on(self, pieces: list[tuple[bytes, Taker | None]]) -> int:
        for data, taker in pieces:
            if taker is None:
                continue
            if self._copy is None:
                self._copy = self._open_copy()
            if lost := self._copy.write(data):
                return lost
        return 0
