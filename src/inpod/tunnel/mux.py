"""Many streams over one link: whose turn it is to speak, and how much. No I/O here: see `streams`.

Rules:
    1. The initiator's streams have odd ids, the other end's even ones; an id is used once.
    2. Each direction of a stream starts with WINDOW bytes of credit; DATA spends it, CREDIT gives it back as the
       receiver consumes. A peer that sends beyond its credit breaks the link. So one slow stream neither
       blocks the others nor makes us hold more than WINDOW bytes of it.
    3. A stream ends when both ends said EOF, or one said RESET. Frames of an ended stream are thrown away, as
       they may have crossed the RESET.
"""

import struct

from inpod.tunnel.frames import MAX_PAYLOAD, FrameError, Kind, encode

WINDOW = 512 * 1024
"""Bytes of data that may be on their way in one direction of a stream."""

MAX_STREAMS = 16384
"""Open streams of one link, both ends together."""

_U32 = struct.Struct(">I")


class StreamState:
    """Where one stream stands.

    Attributes:
        credit: Bytes that we may send.
        window: Bytes that the peer may send.
        spent: Consumed bytes not yet given back as credit.
    """

    __slots__ = ("credit", "eof_received", "eof_sent", "spent", "window")

    def __init__(self) -> None:
        self.credit = WINDOW
        self.window = WINDOW
        self.spent = 0
        self.eof_sent = False
        self.eof_received = False


class Mux:
    """State of all streams. What is to be sent collects in `out`; the caller takes it away."""

    def __init__(self, *, initiator: bool) -> None:
        self.streams: dict[int, StreamState] = {}
        self.out: list[bytes] = []
        self._next = 1 if initiator else 2
        self._last_opened = -1 if not initiator else 0

    def open(self, head: bytes) -> int:
        """Begin a stream and return its id."""
        if len(head) > MAX_PAYLOAD:
            raise ValueError("request too long")
        stream, self._next = self._next, self._next + 2
        self.streams[stream] = StreamState()
        self.out.append(encode(stream, Kind.OPEN, head))
        return stream

    def accept(self, stream: int, head: bytes) -> None:
        """Take a stream of the peer."""
        if stream in self.streams:
            self.out.append(encode(stream, Kind.ACCEPT, head[:MAX_PAYLOAD]))

    def reset(self, stream: int, payload: bytes) -> None:
        """End a stream at once."""
        if self.streams.pop(stream, None) is not None:
            self.out.append(encode(stream, Kind.RESET, payload[:MAX_PAYLOAD]))

    def send(self, stream: int, data: bytes | memoryview) -> int:
        """Send what the credit allows; return how many bytes that was."""
        state = self.streams.get(stream)
        if state is None or state.eof_sent:
            return len(data)
        size = min(len(data), state.credit)
        state.credit -= size
        if size <= MAX_PAYLOAD:
            if size:
                self.out += (_header(stream, size), data if size == len(data) else data[:size])  # type: ignore[arg-type]  # writelines takes views
            return size
        view = memoryview(data)
        for at in range(0, size, MAX_PAYLOAD):
            part = view[at : min(at + MAX_PAYLOAD, size)]
            self.out += (_header(stream, len(part)), part)  # type: ignore[arg-type]  # writelines takes views
        return size

    def send_eof(self, stream: int) -> None:
        """Say that no more data comes this way."""
        state = self.streams.get(stream)
        if state is None or state.eof_sent:
            return
        state.eof_sent = True
        self.out.append(encode(stream, Kind.EOF))
        self._end_if_done(stream, state)

    def consumed(self, stream: int, size: int) -> None:
        """Give credit back for data that was passed on; small amounts are joined."""
        state = self.streams.get(stream)
        if state is None:
            return
        state.spent += size
        if state.spent >= WINDOW // 4 and not state.eof_received:
            state.window += state.spent
            self.out.append(encode(stream, Kind.CREDIT, _U32.pack(state.spent)))
            state.spent = 0

    def received(self, stream: int, kind: int, payload: bytes) -> bool:
        """Note a frame of the peer; return whether the caller should act on it.

        Raises:
            FrameError: The peer broke a rule of this file.
        """
        if kind in (Kind.PING, Kind.PONG):
            return True
        if kind == Kind.OPEN:
            if stream % 2 == self._next % 2 or stream <= self._last_opened or len(self.streams) >= MAX_STREAMS:
                raise FrameError(f"stream {stream} cannot be opened")
            self._last_opened = stream
            self.streams[stream] = StreamState()
            return True
        state = self.streams.get(stream)
        if state is None:
            return False
        if kind == Kind.DATA:
            state.window -= len(payload)
            if state.window < 0 or state.eof_received:
                raise FrameError(f"stream {stream} sent beyond its credit or end")
        elif kind == Kind.CREDIT:
            if len(payload) != _U32.size:
                raise FrameError("credit")
            state.credit += _U32.unpack(payload)[0]
        elif kind == Kind.EOF:
            state.eof_received = True
            self._end_if_done(stream, state)
        elif kind == Kind.RESET:
            del self.streams[stream]
        return True

    def _end_if_done(self, stream: int, state: StreamState) -> None:
        if state.eof_sent and state.eof_received:
            del self.streams[stream]


def _header(stream: int, size: int) -> bytes:
    return stream.to_bytes(4, "big") + b"\x03" + size.to_bytes(4, "big")
