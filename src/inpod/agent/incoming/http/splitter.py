"""Splits what a client sends among those whose requests it is, where only a copy of it is seen. No I/O here.

The answers are not seen. So whether an upgrade was agreed to is known only by what follows: a request, or not.
"""

from collections.abc import Callable

from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.http.collected import Collected
from inpod.agent.incoming.http.head import Manner, Request
from inpod.agent.incoming.http.requests import RequestReader
from inpod.protocol.agent import PREFACE

Choose = Callable[[Head, bytes | None], Taker | Fate]
"""As `Chooser.choose`."""


class RequestSplitter:
    """Takes the client's bytes of one connection, cut anywhere.

    Attributes:
        lost: Why the rest of the connection cannot be split; None as long as it can. Then it is nobody's, unless it
            belongs to a request that was given already.
        http2: What came from where the connection went on in HTTP/2, which a request had offered; None as long as it did not.
    """

    def __init__(self, choose: Choose) -> None:
        self.lost: str | None = None
        self.http2: bytes | None = None
        self._choose = choose
        self._reader = RequestReader()
        self._taker: Taker | None = None
        self._is_tunnel = False
        self._latest: Manner | None = None
        # The request whose body a filter wants to see:
        self._request: Request | None = None
        self._raw: list[bytes] = []
        self._collected = Collected()

    @property
    def waits_for_body(self) -> bool:
        """Whether a filter looks at a body that did not come yet: call `decide` when it takes too long."""
        return self._request is not None

    def feed(self, data: bytes) -> list[tuple[bytes, Taker | None]]:
        """Return the pieces that are decided, in order, and who gets each: None is the original, which has it."""
        if self.lost is not None:
            return []
        if self._is_tunnel:
            return [(data, self._taker)]
        self._reader.feed(data)
        pieces: list[tuple[bytes, Taker | None]] = []
        while self._step(pieces):
            pass
        if self._reader.broken is not None:
            self._on_broken(self._reader.broken, pieces)
        return pieces

    def decide(self) -> list[tuple[bytes, Taker | None]]:
        """Decide with what came of the body that a filter wants to see; return the pieces as `feed` does."""
        pieces: list[tuple[bytes, Taker | None]] = []
        if self._request is not None and self.lost is None:
            self._choose_with_body(self._request, pieces)
        return pieces

    def _step(self, pieces: list[tuple[bytes, Taker | None]]) -> bool:
        if self._request is not None:
            return self._collect(self._request, pieces)
        if not self._reader.body_is_done:
            if part := self._reader.body():
                pieces.append((part, self._taker))
            return self._reader.body_is_done
        if self._latest is not None and self._latest.is_connect:
            # Whatever is in a tunnel, it is not for us to read.
            self._begin_tunnel(pieces)
            return False
        if (found := self._reader.head()) is None:
            return False
        request, raw = found
        self._latest = request.manner
        body = None if request.length else b""
        choice = self._choose(request.head, body)
        if choice is Fate.NEEDS_BODY and body is None:
            self._request, self._raw, self._collected = request, [raw], Collected()
            return True
        self._taker = None if isinstance(choice, Fate) else choice
        pieces.append((raw, self._taker))
        return True

    def _collect(self, request: Request, pieces: list[tuple[bytes, Taker | None]]) -> bool:
        if piece := self._collected.take(self._reader):
            self._raw.append(piece)
        if not self._reader.body_is_done and not self._collected.is_enough:
            return False
        self._choose_with_body(request, pieces)
        return True

    def _choose_with_body(self, request: Request, pieces: list[tuple[bytes, Taker | None]]) -> None:
        choice = self._choose(request.head, self._collected.body())
        self._taker = None if isinstance(choice, Fate) else choice
        pieces.append((b"".join(self._raw), self._taker))
        self._request, self._raw, self._collected = None, [], Collected()

    def _on_broken(self, reason: str, pieces: list[tuple[bytes, Taker | None]]) -> None:
        is_upgraded = self._latest is not None and self._latest.is_barrier and self._reader.body_is_done
        if is_upgraded and self._request is None:
            self._begin_tunnel(pieces)
            return
        rest = self._reader.rest()
        if self._latest is not None and self._latest.offers_http2 and PREFACE.startswith(rest[: len(PREFACE)]):
            self.http2 = rest
        else:
            self.lost = reason

    def _begin_tunnel(self, pieces: list[tuple[bytes, Taker | None]]) -> None:
        self._is_tunnel = True
        if rest := self._reader.rest():
            pieces.append((rest, self._taker))
