"""What became of a port's traffic, told to the session a line at a time."""

import asyncio
from collections.abc import Callable

from inpod.protocol.agent import PortReport, encode
from inpod.tunnel.streams import Stream

REPORT_EVERY_S = 1.0
"""How often something is told at most."""

Why = Callable[[], str]
"""Explains why a request was not the session's; called when that is told, not for each request."""


class Report:
    """Counts for one subscription. What nobody counts for a while costs nothing."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._dropped = self._seen = self._matched = self._passed = self._whole = 0
        self._why: Why | None = None
        self._timer: asyncio.TimerHandle | None = None

    def dropped(self, packets: int) -> None:
        """Count packets that are missing in a copy."""
        self._dropped += packets
        self._tell_soon()

    def matched(self) -> None:
        """Count a request that the session got."""
        self._seen += 1
        self._matched += 1
        self._tell_soon()

    def passed(self, why: Why) -> None:
        """Count a request that it did not get."""
        self._seen += 1
        self._passed += 1
        self._why = why
        self._tell_soon()

    def whole(self, why: str) -> None:
        """Count a connection whose requests were not looked at."""
        self._whole += 1
        self._why = lambda: why
        self._tell_soon()

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        why = self._why() if self._why is not None else ""
        report = PortReport(self._dropped, self._seen, self._matched, self._passed, self._whole, why)
        self._stream.send(encode(report) + b"\n")
        self._dropped = self._seen = self._matched = self._passed = self._whole = 0
        self._why = None
