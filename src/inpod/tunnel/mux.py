"""Many streams over one link: who may speak, and how much. No I/O here: see `streams`.

Rules:
    1. The initiator's streams have odd ids, the other end's even ones, each higher than the one before.
    2. Who did not open a stream takes it by one ACCEPT, or ends it by RESET. Data may come before the ACCEPT.
    3. Each direction of a stream starts with WINDOW bytes of credit; DATA spends it, CREDIT gives it back as the
       receiver passes the bytes on. So a slow stream neither blocks the others nor makes us hold more than WINDOW
       bytes of it.
    4. A stream ends when both ends said EOF, or one said RESET. Frames of an ended stream are thrown away: they may
       have crossed the RESET.
    5. An end keeps at most MAX_STREAMS streams of its own open.

A peer that breaks a rule gets a FrameError, after which the link is worth nothing.
"""

import struct
from collections import deque

from inpod.tunnel.frames import HEADER, MAX_PAYLOAD, FrameError, Kind, encode

WINDOW = 512 * 1024
"""Bytes of data that may be on their way in one direction of a stream."""

CREDIT_STEP = WINDOW // 4
"""Passed-on bytes are given back in steps of this size, so that a CREDIT is rare beside its DATA."""

MAX_STREAMS = 16384
"""Open streams of one end."""

JOIN_BELOW = 8 * 1024
"""Data shorter than this is copied together with its neighbours: cheaper than a place of its own in a write."""

_U32 = struct.Struct(">I")
_OPEN, _ACCEPT, _DATA, _EOF, _RESET, _CREDIT, _PING, _PONG = (int(kind) for kind in Kind)

Buffer = bytes | memoryview


class StreamState:
    """Where one stream stands.

    Attributes:
        owner: Whatever the user of the mux wants to find by the stream.
        credit: Bytes that we may send.
        window: Bytes that the peer may send.
        spent: Passed-on bytes not yet given back as credit.
        pending: Data that waits for credit, or for room in the link.
        eof_wanted: EOF follows once `pending` is sent.
    """

    __slots__ = (
        "credit", "ended", "eof_received", "eof_sent", "eof_wanted", "is_ours", "is_taken", "number", "owner",
        "pending", "spent", "window",
    )  # fmt: skip

    def __init__(self, number: int, *, is_ours: bool) -> None:
        self.number = number
        self.owner: object = None
        self.credit = WINDOW
        self.window = WINDOW
        self.spent = 0
        self.pending: deque[Buffer] = deque()
        self.is_ours = is_ours
        self.is_taken = False
        self.eof_wanted = False
        self.eof_sent = False
        self.eof_received = False
        self.ended = False


class Mux:
    """State of all streams. What is to be sent collects here until `take`.

    Attributes:
        is_full: Set by the user while the link takes no more: data then waits in its stream, in `blocked`.
        blocked: Streams that wait for room in the link, the one that waits longest first.
        has_large: Whether `take` is worth calling at once.
    """

    def __init__(self, *, initiator: bool) -> None:
        self.streams: dict[int, StreamState] = {}
        self.blocked: dict[StreamState, None] = {}
        self.is_full = False
        self.has_large = False
        self._small: list[bytes] = []
        self._out: list[Buffer] = []
        self._next = 1 if initiator else 2
        self._last_opened = 0 if initiator else -1
        self._own_count = 0
        self._peer_count = 0

    @property
    def has_output(self) -> bool:
        """Whether there is something to send."""
        return bool(self._small or self._out)

    def take(self) -> list[Buffer]:
        """Return what is to be sent, as few pieces, and forget it."""
        self._join_small()
        out, self._out = self._out, []
        self.has_large = False
        return out

    def open(self, head: bytes) -> StreamState | None:
        """Begin a stream; None when too many are open.

        Raises:
            ValueError: `head` does not fit a frame.
        """
        _check_fits(head)
        if self._own_count >= MAX_STREAMS:
            return None
        number, self._next = self._next, self._next + 2
        self._own_count += 1
        state = self.streams[number] = StreamState(number, is_ours=True)
        self._small.append(encode(number, _OPEN, head))
        return state

    def accept(self, state: StreamState, head: bytes) -> None:
        """Take a stream of the peer.

        Raises:
            ValueError: `head` does not fit a frame, or the stream is ours or taken already.
        """
        _check_fits(head)
        if state.ended:
            return
        if state.is_ours or state.is_taken:
            raise ValueError("only a stream of the peer can be accepted, and once")
        state.is_taken = True
        self._small.append(encode(state.number, _ACCEPT, head))

    def reset(self, state: StreamState, payload: bytes) -> None:
        """End a stream at once.

        Raises:
            ValueError: `payload` does not fit a frame.
        """
        _check_fits(payload)
        if not state.ended:
            self._small.append(encode(state.number, _RESET, payload))
            self._end(state)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._small.append(encode(0, _PING))

    def send(self, state: StreamState, data: Buffer) -> bool:
        """Send `data`, or keep what cannot go yet; return whether all of it went."""
        size = len(data)
        if state.eof_wanted or state.ended or not size:
            return True
        if state.pending or size > state.credit or self.is_full:
            state.pending.append(data)
            return self.pump(state)
        state.credit -= size
        if size < JOIN_BELOW:
            self._small += (HEADER.pack(state.number, _DATA, size), data)  # type: ignore[arg-type]  # join takes views
        else:
            self._send_large(state.number, data)
        return True

    def pump(self, state: StreamState) -> bool:
        """Send what waits, as far as credit and link allow; return whether nothing waits any more."""
        pending = state.pending
        while pending and state.credit and not self.is_full:
            data = pending.popleft()
            if len(data) > state.credit:
                data = memoryview(data)
                pending.appendleft(data[state.credit :])
                data = data[: state.credit]
            state.credit -= len(data)
            self._send_large(state.number, data)
        if not pending:
            if state.eof_wanted:
                self._say_eof(state)
            return True
        if self.is_full and state.credit:
            self.blocked[state] = None
        return False

    def send_eof(self, state: StreamState) -> None:
        """Say that no more data comes this way, after all that waits."""
        state.eof_wanted = True
        if not state.pending:
            self._say_eof(state)

    def passed_on(self, state: StreamState, size: int) -> bool:
        """Give credit back for received data; return whether that is something to send."""
        state.spent += size
        if state.spent < CREDIT_STEP or state.eof_received or state.ended:
            return False
        state.window += state.spent
        self._small.append(encode(state.number, _CREDIT, _U32.pack(state.spent)))
        state.spent = 0
        return True

    def drop_all(self) -> list[StreamState]:
        """End every stream, as the link is gone; return them."""
        states = list(self.streams.values())
        for state in states:
            self._end(state)
        return states

    def received(self, number: int, kind: int, payload: bytes) -> StreamState | None:
        """Note a frame of the peer; return its stream, or None where nobody needs to know of it.

        Raises:
            FrameError: The peer broke a rule of this file.
        """
        state = self.streams.get(number)
        if state is None:
            return self._received_without_stream(number, kind, payload)
        if kind == _DATA:
            state.window -= len(payload)
            if state.window < 0 or state.eof_received:
                raise FrameError(f"stream {number} sent beyond its credit or end")
        elif kind == _CREDIT:
            state.credit += _credit(payload)
            if state.credit > WINDOW:
                raise FrameError(f"stream {number} gave more credit than it got bytes")
        elif kind == _EOF:
            if state.eof_received:
                raise FrameError(f"stream {number} ended twice")
            state.eof_received = True
            if state.eof_sent:
                self._end(state)
        elif kind == _RESET:
            self._end(state)
        elif kind == _ACCEPT and state.is_ours and not state.is_taken:
            state.is_taken = True
        else:
            raise FrameError(f"stream {number} got a frame of kind {kind}")
        return state

    def _received_without_stream(self, number: int, kind: int, payload: bytes) -> StreamState | None:
        if number == 0:
            if kind not in (_PING, _PONG) or payload:
                raise FrameError(f"kind {kind} on stream 0")
            # One PONG answers all PINGs that came together, so that they cannot make us hold more and more.
            pong = encode(0, _PONG)
            if kind == _PING and pong not in self._small[-1:]:
                self._small.append(pong)
            return None
        is_ours = number % 2 == self._next % 2
        if kind != _OPEN or is_ours:
            if kind >= _PING or number > (self._next - 2 if is_ours else self._last_opened):
                raise FrameError(f"kind {kind} on stream {number}, which was never opened")
            return None
        if number <= self._last_opened or self._peer_count >= MAX_STREAMS:
            raise FrameError(f"stream {number} cannot be opened")
        self._last_opened = number
        self._peer_count += 1
        state = self.streams[number] = StreamState(number, is_ours=False)
        return state

    def _send_large(self, number: int, data: Buffer) -> None:
        self._join_small()
        self.has_large = True
        size = len(data)
        if size <= MAX_PAYLOAD:
            self._out += (HEADER.pack(number, _DATA, size), data)
            return
        view = memoryview(data)
        for at in range(0, size, MAX_PAYLOAD):
            part = view[at : at + MAX_PAYLOAD]
            self._out += (HEADER.pack(number, _DATA, len(part)), part)

    def _say_eof(self, state: StreamState) -> None:
        if state.eof_sent or state.ended:
            return
        state.eof_sent = True
        self._small.append(encode(state.number, _EOF))
        if state.eof_received:
            self._end(state)

    def _end(self, state: StreamState) -> None:
        state.ended = True
        state.pending.clear()
        self.blocked.pop(state, None)
        if self.streams.pop(state.number, None) is not None:
            if state.is_ours:
                self._own_count -= 1
            else:
                self._peer_count -= 1

    def _join_small(self) -> None:
        if self._small:
            self._out.append(self._small[0] if len(self._small) == 1 else b"".join(self._small))
            self._small.clear()


def _credit(payload: bytes) -> int:
    if len(payload) != _U32.size:
        raise FrameError("CREDIT without a number")
    return int(_U32.unpack(payload)[0])


def _check_fits(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes do not fit a frame")
