"""What became of a port's traffic, told to the session a line at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable

from inpod.protocol.agent import PortReport, encode
from inpod.tunnel.streams import Stream

REPORT_EVERY_S = 1.0
"""How often something is told at most."""


class Report:
    """Counts for one subscription. What nobody counts for a while costs nothing."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._matched = self._passed = 0
        self._counts: Counter[str] = Counter()  # of all else
        self._why: tuple[Callable[..., str], tuple[object, ...]] | None = None
        self._trouble = self._hint = ""
        self._timer: asyncio.TimerHandle | None = None

    def dropped(self, packets: int) -> None:
        """Count packets that are missing in a copy."""
        self._count("dropped", packets)

    def moved(self, connections: int) -> None:
        """Count connections of the original that were reset."""
        if connections:
            self._count("moved", connections)

    def stayed(self, connections: int) -> None:
        """Count connections that existed before and stay the original's."""
        if connections:
            self._count("stayed", connections)

    def hint(self, text: str) -> None:
        """Tell of something that may not be as it is thought to be."""
        self._hint = text
        self._tell_soon()

    def trouble(self, why: str) -> None:
        """Tell of something that does not work."""
        self._trouble = f"{self._trouble}; {why}" if self._trouble else why
        self._tell_soon()

    def matched(self) -> None:
        """Count a request that the session got."""
        self._matched += 1
        self._tell_soon()

    def passed(self, why: Callable[..., str], *of: object) -> None:
        """Count a request that it did not get; `why(*of)` explains it, and is called when that is told, not for each."""
        self._passed += 1
        self._why = why, of
        self._tell_soon()

    def whole(self, why: str) -> None:
        """Count a connection whose requests were not looked at."""
        self._count("whole")
        self._why = str, (why,)

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _count(self, what: str, number: int = 1) -> None:
        self._counts[what] += number
        self._tell_soon()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        explain, of = self._why or (str, ())
        report = PortReport(
            seen=self._matched + self._passed,
            matched=self._matched,
            passed=self._passed,
            why=explain(*of),
            trouble=self._trouble,
            hint=self._hint,
            **self._counts,
        )
        self._stream.send(encode(report) + b"\n")
        self._trouble = self._hint = ""
        self._matched = self._passed = 0
        self._counts.clear()
        self._why = None
