"""A copy of those requests of a connection that a session's filter matches."""

from collections.abc import Callable

from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.http.splitter import RequestSplitter
from inpod.agent.incoming.mirror.copy import Copy
from inpod.agent.incoming.subscriber import Subscriber, why
from inpod.tunnel.stream import Stream


class FilteredCopy:
    """Stands where a `Copy` does; opens one with the first request that matches."""

    def __init__(self, subscriber: Subscriber, open_copy: Callable[[], Copy]) -> None:
        self._subscriber = subscriber
        self._open_copy = open_copy
        self._splitter = RequestSplitter(self._choose)
        self._copy: Copy | None = None
        self._is_cut = False

    @property
    def is_over(self) -> bool:
        """As of a `Copy`; also when what follows cannot be split into requests."""
        return self._is_cut or self._splitter.lost is not None or (self._copy is not None and self._copy.is_over)

    @property
    def is_answered(self) -> bool:
        """As of a `Copy`."""
        return self._copy is not None and self._copy.is_answered

    def write(self, data: bytes) -> int:
        """As of a `Copy`: return how many chunks are lost."""
        lost = self._pass_on(self._splitter.feed(data))
        if (reason := self._splitter.lost) is not None:
            self._subscriber.report.whole(f"a connection could not be read as HTTP: {reason}")
            if self._copy is not None:
                self._copy.cut()
        return lost

    def finish(self) -> None:
        """As of a `Copy`."""
        self._pass_on(self._splitter.decide())
        if self._copy is not None:
            self._copy.finish()

    def abort(self) -> None:
        """As of a `Copy`."""
        if self._copy is not None:
            self._copy.abort()

    def flush(self) -> None:
        """As of a `Copy`. A request whose body does not come is decided by what there is of it."""
        if self._copy is not None:
            self._copy.flush()

    def cut(self) -> None:
        """As of a `Copy`."""
        self._is_cut = True
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

    def _choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        subscriber = self._subscriber
        matches = True if subscriber.rules is None else subscriber.rules.matches(head, body)
        if matches is None:
            return Fate.NEEDS_BODY
        if not matches:
            subscriber.report.passed(lambda: why(subscriber, head, body, None))
            return Fate.ORIGINAL
        subscriber.report.matched()
        return _TAKER


class _Us:
    """The one session that a copy is for: a `Taker` of which only the identity counts."""

    def open(self) -> Stream:
        raise NotImplementedError("a copy opens its stream by itself")


_TAKER = _Us()
