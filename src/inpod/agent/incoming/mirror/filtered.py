"""A copy of those requests of a connection that a session's filter matches, in either version of HTTP.

Without a filter that is all of them, and only those of HTTP/2 are read: as the original's, the program's connection is one
that keeps to what its own end takes.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.mirror.copy import Copy, Room
from inpod.agent.incoming.mirror.h1_copy import Http1Copy
from inpod.agent.incoming.subscriber import Subscriber, why
from inpod.protocol.agent import PREFACE
from inpod.tunnel.stream import Stream


class Requests(Protocol):
    """The requests of a connection; the other members are those of a `Copy`."""

    @property
    def lost(self) -> str | None:
        """Return why the rest cannot be read; None as long as it can."""

    @property
    def is_over(self) -> bool: ...

    @property
    def is_answered(self) -> bool: ...

    def write(self, data: bytes) -> int: ...

    def finish(self) -> None: ...

    def abort(self) -> None: ...

    def flush(self) -> None: ...

    def cut(self) -> None: ...


class FilteredCopy:
    """Stands where a `Copy` does; opens one with the first request that matches, without a filter with the first bytes."""

    def __init__(self, subscriber: Subscriber, open_copy: Callable[[], Copy], room: Room) -> None:
        self._subscriber = subscriber
        self._open_copy = open_copy
        self._room = room
        self._first = b""
        self._requests: Requests | None = None  # None until its version is known
        self._earlier: Http1Copy | None = None
        self._is_cut = False

    @property
    def is_over(self) -> bool:
        """As of a `Copy`; also when what follows cannot be split into requests."""
        return self._is_cut or (self._requests is not None and self._requests.is_over)

    @property
    def is_answered(self) -> bool:
        """As of a `Copy`."""
        return self._requests is not None and self._requests.is_answered

    def write(self, data: bytes) -> int:
        """As of a `Copy`: return how many chunks are lost."""
        requests = self._requests
        if requests is None:
            data = self._first + data
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._first = data
                return 0
            self._first = b""
            requests = self._requests = self._begin(is_http2=data.startswith(PREFACE))
        was_lost = requests.lost is not None
        lost = requests.write(data)
        if requests.lost is not None and not was_lost:
            self._subscriber.report.whole(f"a connection could not be read as HTTP: {requests.lost}")
        if isinstance(requests, Http1Copy) and (rest := requests.http2) is not None:
            # The original took an offer to go on in HTTP/2, which the program does not get.
            requests.finish()
            self._earlier, self._requests = requests, None
            lost += self.write(rest)
        return lost

    def finish(self) -> None:
        """As of a `Copy`."""
        if self._requests is not None:
            self._requests.finish()

    def abort(self) -> None:
        """As of a `Copy`."""
        if self._requests is not None:
            self._requests.abort()

    def flush(self) -> None:
        """As of a `Copy`."""
        for requests in (self._earlier, self._requests):
            if requests is not None:
                requests.flush()
        self._earlier = None

    def cut(self) -> None:
        """As of a `Copy`."""
        self._is_cut = True
        for requests in (self._earlier, self._requests):
            if requests is not None:
                requests.cut()

    def _begin(self, *, is_http2: bool) -> Requests:
        if not is_http2:
            return Http1Copy(self._choose, self._open_copy)
        # Loaded for the first connection that needs it: most sessions have none.
        from inpod.agent.incoming.mirror.h2_copy import Http2Copy
        from inpod.agent.incoming.mirror.h2_program import Program

        loop = asyncio.get_running_loop()
        program = Program(self._open_copy, self._room, loop, self._subscriber.report.dropped)
        if self._subscriber.rules is None:
            program.connect()
        return Http2Copy(self._choose, program, loop)

    def _choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        subscriber = self._subscriber
        matches = True if subscriber.rules is None else subscriber.rules.matches(head, body)
        if matches is None:
            return Fate.NEEDS_BODY
        if not matches:
            subscriber.report.passed(why, subscriber, head, body, None)
            return Fate.ORIGINAL
        subscriber.report.matched()
        return _TAKER


class _Us:
    """The one session that a copy is for: a `Taker` of which only the identity counts."""

    def open(self) -> Stream:
        raise NotImplementedError("a copy opens its stream by itself")


_TAKER = _Us()
