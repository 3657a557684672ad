"""Keeps stolen ports only while the session is there: beats while it is heard, rests while it is silent.

Whoever falls silent loses the ports within `STALE_AFTER_S`:
    - the agent (stopped, killed): the last beat grows stale in the kernel;
    - the session (stopped, asleep, cut off): its last ping is `SILENT_AFTER_S` old, and the agent rests at once.
"""

import asyncio
import time
from collections.abc import Callable

from inpod.tunnel.streams import Tunnel

BEAT_EVERY_S = 0.25

SILENT_AFTER_S = 1.5
"""The session pings every 0.5 s: two pings may be late. With one beat's time more it stays below `STALE_AFTER_S`."""

LATE_AFTER_S = 1.0
"""Less than a guest waits before it takes the place of a host that does not answer."""


class Heart:
    """Calls `beat` or `rest` every `BEAT_EVERY_S` while started.

    A beat is told whether it comes late: this process stood still for so long that another may have taken its place. And as of
    when that is known (CLOCK_MONOTONIC, in ns), as it may stand still from one step to the next.
    """

    def __init__(self, tunnel: Tunnel, beat: Callable[[bool, int], None], rest: Callable[[], None]) -> None:
        self._tunnel = tunnel
        self._beat = beat
        self._rest = rest
        self._last_ns: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, with a beat or a rest at once."""
        if self._timer is None:
            self._on_timer()

    def stop(self) -> None:
        """End, without a last word."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(BEAT_EVERY_S, self._on_timer)
        now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        is_late = self._last_ns is not None and now_ns - self._last_ns > LATE_AFTER_S * 1e9
        self._last_ns = now_ns
        if loop.time() - self._tunnel.last_heard < SILENT_AFTER_S:
            self._beat(is_late, now_ns)
        else:
            self._rest()
