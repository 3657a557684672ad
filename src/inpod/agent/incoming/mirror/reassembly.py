"""Puts byte streams together from TCP segments that come out of order, twice, overlapping, or not at all. No I/O here.

Rules, for each flow (one direction of one connection):
    1. It begins with its SYN, or in the middle of a connection with a segment that begins with the head of an HTTP/1
       request. Segments of flows that did not begin are left out.
    2. Bytes come out once and in order. What lies beyond a gap waits for the gap to be filled: at most
       `Limits.gap_s`, and not more than `Limits.flow_bytes` (`total_bytes` for all flows). Then the flow is LOST; it
       may begin again at a request. For the original acknowledged those bytes: nobody will send them again.
    3. It ends with FIN once all bytes before that are out, with RST, with a SYN of another connection between the same
       ports, or when it was silent for `Limits.idle_s`.
    4. It also ends when it is silent for `Limits.silent_s` and the kernel has no such connection: one that was there
       before, that never said a byte, or of which the last bytes may have been dropped. (Others may have reached
       their program under another address: never been there proves nothing.)
    5. What still comes of a flow that ended is left out for `Limits.linger_s`: retransmitted, it would look like a
       request in the middle of a connection.
"""

import heapq
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from inpod.agent.incoming.mirror.packets import Flag, Segment

_MASK = 0xFFFF_FFFF
_HALF = 0x8000_0000

_MAX_DISTANCE = 1 << 30
"""A segment further away than TCP's largest window (RFC 7323) is none of this connection."""

_PIECE_OVERHEAD = 150
"""Bytes that a waiting segment costs besides its payload, about."""

_MAX_ENDED = 8192

_BEGINS_OR_ENDS = Flag.SYN | Flag.FIN | Flag.RST

_REQUEST = re.compile(rb"[A-Z]{3,20} [!-~]{1,8192} HTTP/1\.[01]\r\n")


def begins_request(data: bytes) -> bool:
    """Return whether `data` begins with the first line of an HTTP/1 request."""
    return _REQUEST.match(data) is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of what waits, and how long. Times in seconds."""

    flows: int = 4096
    silent_s: float = 5.0
    flow_bytes: int = 8 * 1024 * 1024
    total_bytes: int = 32 * 1024 * 1024
    gap_s: float = 5.0
    idle_s: float = 3600.0
    linger_s: float = 5.0


class Kind(Enum):
    """What happened to a flow."""

    OPENED = auto()
    DATA = auto()
    ENDED = auto()
    """By FIN: all its bytes came out."""
    RESET = auto()
    LOST = auto()
    """Bytes are missing: `lost` counts segments."""
    REFUSED = auto()
    """There are `Limits.flows` already."""


_DATA = Kind.DATA
"""For what runs with each packet: Python 3.11 takes long to find a member in its class."""


class Event(NamedTuple):
    """One step of a flow.

    Attributes:
        pieces: Of DATA: bytes that follow one another, as the segments had them.
    """

    kind: Kind
    flow: bytes
    pieces: Sequence[bytes] = ()
    lost: int = 0


class _Flow:
    """Attributes:
    first: Sequence number of the SYN; -1 when it was not seen.
    next: Sequence number of the next byte to come out.
    position: How many bytes came out.
    end: Position of FIN; -1 when unknown.
    pieces: Heap of (position, serial number, bytes) beyond the gap.
    held: What the pieces cost.
    gap_since: When the current gap was noticed; -1.0 without one.
    was_there: The kernel knew its connection.
    is_doubtful: Packets were dropped since it began, perhaps of it.
    """

    __slots__ = (
        "end", "first", "gap_since", "heard", "held", "is_doubtful", "next", "pieces", "position", "was_there",
    )  # fmt: skip

    def __init__(self, first: int, next_seq: int, now: float) -> None:
        self.first = first
        self.next = next_seq
        self.position = 0
        self.end = -1
        self.pieces: list[tuple[int, int, bytes]] = []
        self.held = 0
        self.gap_since = -1.0
        self.heard = now
        self.was_there = False
        self.is_doubtful = False


class Reassembler:
    """All flows. `now` is any clock in seconds that does not go back."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._flows: dict[bytes, _Flow] = {}
        self._ended: dict[bytes, tuple[int, float]] = {}
        self._held = 0
        self._serial = 0

    @property
    def held_bytes(self) -> int:
        """What the segments cost that wait for a gap to be filled."""
        return self._held

    def flows(self) -> list[bytes]:
        """Return the flows that began and did not end."""
        return list(self._flows)

    def feed(self, segments: Iterable[Segment], now: float) -> list[Event]:
        """Take segments; return what they bring about, for each flow in order."""
        events: list[Event] = []
        ready: dict[bytes, list[bytes]] = {}
        find = self._flows.get
        for segment in segments:
            key, seq, flags, payload = segment
            flow = find(key)
            # Most go on where their flow is.
            if flow is not None and seq == flow.next and not (flags & _BEGINS_OR_ENDS or flow.pieces) and flow.end < 0:
                flow.heard = now
                if payload:
                    size = len(payload)
                    flow.next = (seq + size) & _MASK
                    flow.position += size
                    if key in ready:
                        ready[key].append(payload)
                    else:
                        ready[key] = [payload]
                continue
            if key in ready:
                events.append(Event(_DATA, key, ready.pop(key)))
            if flow is None or flags & Flag.SYN:
                events += self._begin(segment, flow, now)
            else:
                flow.heard = now
                events += self._continue(segment, flow, now)
        events += [Event(_DATA, key, pieces) for key, pieces in ready.items()]
        return events

    def forget(self, key: bytes) -> None:
        """Leave a flow out from here on, unless it begins anew."""
        if (flow := self._flows.pop(key, None)) is not None:
            self._held -= flow.held

    def expire(self, now: float) -> list[Event]:
        """Return which flows are over because of the time. Call about once a second."""
        limits = self._limits
        events: list[Event] = []
        for key, flow in list(self._flows.items()):
            if flow.gap_since >= 0 and now - flow.gap_since > limits.gap_s:
                events.append(self._lose(key, flow))
            elif now - flow.heard > limits.idle_s:
                self.forget(key)
                events.append(Event(Kind.RESET, key))
        while self._ended and now - next(iter(self._ended.values()))[1] > limits.linger_s:
            del self._ended[next(iter(self._ended))]
        return events

    def doubt(self) -> None:
        """Note that packets were dropped, nobody knows of which flow."""
        for flow in self._flows.values():
            flow.is_doubtful = True

    def has_silent(self, now: float) -> bool:
        """Return whether `check` has something to check."""
        return any(now - flow.heard > self._limits.silent_s for flow in self._flows.values())

    def check(self, there: Container[bytes], now: float) -> list[Event]:
        """Return which silent flows are over, given which connections the kernel has."""
        events: list[Event] = []
        for key, flow in list(self._flows.items()):
            if key in there:
                flow.was_there = True
            elif now - flow.heard > self._limits.silent_s:
                if flow.is_doubtful:
                    events.append(self._lose(key, flow))
                elif flow.was_there or not flow.position:
                    events += self._end(key, flow, Kind.RESET, now)
        return events

    def _begin(self, segment: Segment, flow: _Flow | None, now: float) -> list[Event]:
        key, seq, flags, payload = segment
        if flags & Flag.SYN:
            # A SYN with ACK answers a connection that began here.
            is_repeated = (flow is not None and flow.first == seq) or self._ended.get(key, (-1,))[0] == seq
            if flags & (Flag.ACK | Flag.RST) or is_repeated:
                return []
            events = [] if flow is None else self._end(key, flow, Kind.RESET, now)
            first, seq = seq, (seq + 1) & _MASK
        else:
            if key in self._ended or not begins_request(payload) or flags & Flag.RST:
                return []
            events, first = [], -1
        self._ended.pop(key, None)
        if len(self._flows) >= self._limits.flows:
            return [*events, Event(Kind.REFUSED, key, lost=1)]
        flow = self._flows[key] = _Flow(first, seq, now)
        events.append(Event(Kind.OPENED, key))
        if payload or flags & Flag.FIN:
            events += self._continue(segment._replace(seq=seq), flow, now)
        return events

    def _continue(self, segment: Segment, flow: _Flow, now: float) -> list[Event]:
        key, seq, flags, payload = segment
        distance = (seq - flow.next) & _MASK
        if distance >= _HALF:
            distance -= _MASK + 1
        if not -_MAX_DISTANCE < distance < _MAX_DISTANCE:
            return []
        if flags & Flag.RST:
            return self._end(key, flow, Kind.RESET, now)
        start, end = flow.position + distance, flow.position + distance + len(payload)
        if flags & Flag.FIN and end >= flow.position:
            flow.end = end
        if payload and end > flow.position:
            self._serial += 1
            heapq.heappush(flow.pieces, (start, self._serial, payload))
            self._hold(flow, len(payload) + _PIECE_OVERHEAD)
        ready = self._take_ready(flow)
        events = [Event(_DATA, key, ready)] if ready else []
        if flow.position == flow.end:
            return events + self._end(key, flow, Kind.ENDED, now)
        if not flow.pieces and flow.end < 0:
            flow.gap_since = -1.0
        elif events or flow.gap_since < 0:
            flow.gap_since = now
        if flow.held > self._limits.flow_bytes or self._held > self._limits.total_bytes:
            events.append(self._lose(key, flow))
        return events

    def _take_ready(self, flow: _Flow) -> list[bytes]:
        """Take the pieces that begin at or before what came out, and cut off what did come out."""
        ready: list[bytes] = []
        while flow.pieces and flow.pieces[0][0] <= flow.position:
            start, _, data = heapq.heappop(flow.pieces)
            self._hold(flow, -len(data) - _PIECE_OVERHEAD)
            if data := data[flow.position - start :]:
                ready.append(data)
                flow.position += len(data)
                flow.next = (flow.next + len(data)) & _MASK
        return ready

    def _end(self, key: bytes, flow: _Flow, kind: Kind, now: float) -> list[Event]:
        self.forget(key)
        self._ended.pop(key, None)
        self._ended[key] = (flow.first, now)
        if len(self._ended) > _MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        return [Event(kind, key)]

    def _lose(self, key: bytes, flow: _Flow) -> Event:
        self.forget(key)
        return Event(Kind.LOST, key, lost=1 + len(flow.pieces))

    def _hold(self, flow: _Flow, size: int) -> None:
        flow.held += size
        self._held += size
