"""SETTINGS of an HTTP/2 client that its sides must agree to before it may count on them. No I/O here.

A client that makes its windows smaller expects to get no more than that once its SETTINGS are acknowledged. Who sends are
the sides, so they are told first. Acknowledgements stay in order.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from inpod.agent.incoming.http.h2_limits import MOST_UNAGREED, SETTINGS_LIMIT_S
from inpod.agent.incoming.http.h2_outside import Timer
from inpod.agent.incoming.http.h2_sending import Sending


class Asker(Protocol):
    """Who asks the sides."""

    def acknowledge(self) -> None:
        """All agree to SETTINGS of the client."""

    def disagreed(self, sides: list[Sending]) -> None:
        """Sides do not agree in time."""

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after a while."""


class Agreement:
    """What waits for sides to agree."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        # For each SETTINGS, how often each side has to agree first.
        self._open: deque[dict[Sending, int]] = deque()
        self._limit: Timer | None = None

    @property
    def is_full(self) -> bool:
        return len(self._open) >= MOST_UNAGREED

    def ask(self, sides: list[Sending]) -> None:
        """SETTINGS of the client came, which were sent on to `sides`."""
        self._open.append({side: side.unagreed for side in sides})
        self._settle()

    def agreed(self, side: Sending) -> None:
        """A side acknowledged the oldest of what we sent it."""
        for sides in self._open:
            if side in sides:
                sides[side] -= 1
                if not sides[side]:
                    del sides[side]
        self._settle()

    def forget(self, side: Sending) -> None:
        """A side is gone."""
        for sides in self._open:
            sides.pop(side, None)
        self._settle()

    def end(self) -> None:
        """Wait no more."""
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _settle(self) -> None:
        while self._open and not self._open[0]:
            self._open.popleft()
            self._asker.acknowledge()
            self.end()
        if self._open and self._limit is None:
            self._limit = self._asker.later(SETTINGS_LIMIT_S, self._on_limit)

    def _on_limit(self) -> None:
        self._limit = None
        if self._open:
            self._asker.disagreed(list(self._open[0]))
