"""Requests on their way to a side: a connection of HTTP/2 to the original or to the program of a session. No I/O here.

Requests wait in `waiting` until the connection is there and takes more of them. Before the other end's SETTINGS came, it gets
one only: it may take few at a time, and it may be no HTTP/2 at all.
"""

from typing import Protocol

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.choice import Taker
from inpod.agent.incoming.http.h2_frames import END_STREAM, HEADERS, PADDED
from inpod.agent.incoming.http.h2_limits import MOST_UNREAD, SIDE_ROOM, Held
from inpod.agent.incoming.http.h2_stream import Stream
from inpod.agent.incoming.http.hpack import EMPTY_TABLE
from inpod.protocol.agent import PREFACE


class Wire(Protocol):
    """The connection of a side."""

    def write(self, data: bytes) -> None:
        """Send."""

    def close(self) -> None:
        """End once all is sent; it is heard of no more."""

    def abort(self) -> None:
        """End at once; it is heard of no more."""


class Owner(Protocol):
    """Who has sides: the exchange of a client.

    Attributes:
        held: Counts what waits.
    """

    held: Held

    def has_output(self, side: "Sending") -> None:
        """A side has something to send."""

    def now(self) -> float:
        """Return the time in seconds, of a clock that does not go back."""

    def sent(self, stream: Stream) -> None:
        """A request was sent to its side."""

    def took(self, size: int) -> None:
        """DATA of the client was passed on, or dropped."""

    def grant(self, stream: Stream) -> None:
        """A side takes more of a stream."""

    def answer_headers(self, stream: Stream, flags: int, block: bytes) -> None:
        """A block of an answer came; stateless."""

    def answer_data(self, stream: Stream, flags: int, payload: bytes) -> None:
        """DATA of an answer came."""

    def answer_reset(self, stream: Stream, payload: bytes) -> None:
        """A side ended a stream by RST_STREAM."""

    def refuse(self, stream: Stream) -> None:
        """A side will not do anything about a request: the client may ask again."""

    def settle(self, stream: Stream) -> None:
        """Something ended, of a request or its answer."""

    def side_settings(self, side: "Sending", values: dict[int, int]) -> None:
        """SETTINGS of a side came."""

    def side_agreed(self, side: "Sending") -> None:
        """A side took SETTINGS of ours."""

    def lose(self, side: "Sending") -> None:
        """A retired side has no streams any more: it may end."""

    def retire(self, side: "Sending") -> None:
        """A side takes no more requests: GOAWAY, or no stream numbers are left."""


class Sending:
    """A connection, from our end.

    Attributes:
        taker: None for the original.
        wire: None until it is open.
        is_full: It takes no more for now.
        is_retired: It gets no more requests.
        is_lost: It is gone.
        is_speaking: Its SETTINGS came: it is HTTP/2.
        is_overrun: It takes nothing and was to get too much.
        room: Bytes that it takes, by its window for the connection.
        streams: By its own numbers.
        waiting: Streams that are to be sent, in order.
        blocked: Sent streams of which something waits, the one that waits longest first.
        unagreed: SETTINGS of ours without an acknowledgement.
        output: Collected until `Exchange.flush`.
    """

    def __init__(self, owner: Owner, taker: Taker | None) -> None:
        self.taker = taker
        self.wire: Wire | None = None
        self.is_full = False
        self.is_retired = False
        self.is_lost = False
        self.is_speaking = False
        self.is_overrun = False
        self.room = frames.WINDOW
        self.streams: dict[int, Stream] = {}
        self.waiting: dict[Stream, None] = {}
        self.blocked: dict[Stream, None] = {}
        self.unagreed = 0
        self.output: list[bytes] = []
        self._owner = owner
        self._prefix = EMPTY_TABLE
        self._next = 1
        self._limit = 1
        # Nothing until it said how much: some count what came before they said so.
        self._initial_room = 0
        self._unread = 0
        self._answer_room = SIDE_ROOM
        self._passed_on = 0

    # What its owner wants.

    def begin(self, wire: Wire, values: dict[int, int]) -> None:
        """Be open."""
        self.wire = wire
        self._write(PREFACE + frames.settings(values) + frames.window_update(0, SIDE_ROOM - frames.WINDOW))
        self.unagreed = 1
        self._start_waiting()

    def start(self, stream: Stream) -> None:
        """Send a request, now or when its turn comes."""
        if self.wire is None or self.waiting or self.is_full or len(self.streams) >= self._limit:
            self.waiting[stream] = None
        else:
            self._send(stream)

    def set_full(self, is_full: bool) -> None:
        """Wait, or go on."""
        self.is_full = is_full
        if not is_full:
            self._unread = 0
            self._pump()
            self._start_waiting()

    def end(self) -> None:
        """Send what is left, and be closed."""
        wire, self.wire = self.wire, None
        output, self.output = self.output, []
        if wire is None:
            return
        if output:
            wire.write(b"".join(output))
        if self.is_full:
            wire.abort()
        else:
            wire.close()

    def data(self, stream: Stream, flags: int, payload: bytes) -> bool:
        """Pass on DATA as it came, if nothing is in the way; return whether."""
        size = len(payload)
        if stream.requests or self.is_full or size > stream.side_room or size > self.room:
            return False
        stream.side_room -= size
        self.room -= size
        if not self.output:
            self._owner.has_output(self)
        # Padding stays, as the client's window paid for it.
        self.output += (frames.data_head(size, flags & (END_STREAM | PADDED), stream.side_number), payload)
        if flags & END_STREAM:
            stream.request_sent = True
        return True

    def push(self, stream: Stream) -> None:
        """Pass on what waits of a stream, as far as there is room."""
        queue = stream.requests
        while queue and not self.is_full:
            kind, flags, payload = queue[0]
            if kind == HEADERS:
                self._write(frames.headers(flags, stream.side_number, self._take_prefix() + payload))
            else:
                size = len(payload)
                room = min(stream.side_room, self.room)
                if size and size > room:
                    if room <= 0:
                        break
                    # Who has a small window may not open it before something came.
                    queue[0] = (kind, flags, payload[room:])
                    payload, size, flags = payload[:room], room, 0
                    queue.appendleft((kind, flags, payload))
                self._write(frames.frame(kind, flags, stream.side_number, payload))
                stream.side_room -= size
                self.room -= size
                stream.waiting_size -= size
                self._owner.held.give(size)
                self._owner.took(size)
            queue.popleft()
            if flags & END_STREAM:
                stream.request_sent = True
        if queue:
            self.blocked[stream] = None
        else:
            self.blocked.pop(stream, None)
        if stream.request_sent:
            self._owner.settle(stream)
        else:
            self._owner.grant(stream)

    def credit(self, stream: Stream, size: int) -> None:
        """Say that the client takes more of a stream."""
        self._write(frames.window_update(stream.side_number, size))

    def passed_on(self, size: int) -> None:
        """Say that the client got DATA, or that it was dropped."""
        self._passed_on += size
        if self._passed_on >= SIDE_ROOM // 4 and not self.is_lost:
            self._write(frames.window_update(0, self._passed_on))
            self._answer_room += self._passed_on
            self._passed_on = 0

    def set_initial_window(self, size: int) -> None:
        """Say what the client takes of each stream at first."""
        self._write(frames.settings({frames.INITIAL_WINDOW_SIZE: size}))
        self.unagreed += 1

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream."""
        self._write(frames.rst_stream(stream.side_number, code))

    def forget(self, stream: Stream) -> None:
        """Have nothing more to do with a stream."""
        if self.streams.pop(stream.side_number, None) is not None:
            self.blocked.pop(stream, None)
            self._start_waiting()
            if self.is_retired and not self.streams:
                self._owner.lose(self)

    # Parts.

    def _send(self, stream: Stream) -> None:
        number = self._next
        self._next += 2
        stream.side, stream.side_number, stream.side_room = self, number, self._initial_room
        self.streams[number] = stream
        flags = END_STREAM if stream.request_ended and not stream.requests else 0
        self._write(frames.headers(flags, number, self._take_prefix() + stream.block))
        stream.block = b""
        self._owner.sent(stream)
        if stream.credit:
            self.credit(stream, stream.credit)
        if flags:
            stream.request_sent = True
        elif stream.requests:
            self.push(stream)
        if self._next > frames.MAX_STREAM:
            self._owner.retire(self)

    def _start_waiting(self) -> None:
        while (
            self.waiting and not (self.wire is None or self.is_full or self.is_lost) and len(self.streams) < self._limit
        ):
            stream = next(iter(self.waiting))
            del self.waiting[stream]
            self._send(stream)

    def _pump(self) -> None:
        for stream in list(self.blocked):
            if self.is_full or self.room <= 0:
                return
            # To the end of the line, so that all get their turn.
            del self.blocked[stream]
            self.push(stream)

    def _take_prefix(self) -> bytes:
        prefix, self._prefix = self._prefix, b""
        return prefix

    def _write(self, data: bytes) -> None:
        if self.is_lost:
            return
        if self.is_full:
            self._unread += 1
            self.is_overrun = self._unread > MOST_UNREAD
        if not self.output:
            self._owner.has_output(self)
        self.output.append(data)
