"""Counts what came to the program, and what it did not take; tells of it now and then."""

import asyncio
import os
from collections import Counter

from inpod.protocol.agent import Incoming, IpProtocol, Refusal, encode
from inpod.session.events import Events, PortDelivered
from inpod.tunnel.streams import Stream

TELL_EVERY_S = 1.0


class Deliveries:
    """The connections of one protocol; of UDP, the peers."""

    def __init__(self, events: Events, protocol: IpProtocol) -> None:
        self._events = events
        self._protocol = protocol
        self._came: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()
        self._why: dict[int, str] = {}
        self._timer: asyncio.TimerHandle | None = None

    def came(self, port: int) -> None:
        """Count one that came to a port of the pod."""
        self._came[port] += 1
        self._tell_soon()

    def refuse(self, stream: Stream, request: Incoming, code: int, why: str = "") -> None:
        """Refuse one of those with an errno, and count it; `why` in words, if the errno does not say it all."""
        self._refused[request.port] += 1
        self._why[request.port] = f"what {request.peer.ip} called at {request.local.ip}: {why or os.strerror(code)}"
        stream.refuse(encode(Refusal(code)))
        self._tell_soon()

    def close(self) -> None:
        """Tell what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()

    def _tell_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_EVERY_S, self._tell)

    def _tell(self) -> None:
        self._timer = None
        came, self._came = self._came, Counter()
        refused, self._refused = self._refused, Counter()
        for port in {**came, **refused}:
            why = self._why.pop(port, "")
            self._events.emit(PortDelivered(port, came[port], refused[port], why, self._protocol))
