"""One mirrored connection on its way to the session. It never makes the traffic wait: what exceeds its room is cut off."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from inpod.tunnel.streams import Stream, StreamRefused

ANSWER_LIMIT_S = 15.0
"""How long the session may take to connect to the program; it gives up itself after 10 s."""

COPY_BYTES = 128 * 1024 * 1024
"""What may wait for a program (or link) slower than the traffic, for one connection: a large upload, as a rule whole."""

TOTAL_BYTES = 192 * 1024 * 1024
"""The same for all connections together."""

_CHUNK_OVERHEAD = 100
"""What a waiting chunk costs besides its bytes, about."""


class Room:
    """What all copies together hold."""

    def __init__(self, total_bytes: int = TOTAL_BYTES, copy_bytes: int = COPY_BYTES) -> None:
        self.total_bytes = total_bytes
        self.copy_bytes = copy_bytes
        self.used = 0


class Listener(Protocol):
    """Who needs to know what the program answers. It still goes to nobody."""

    def answered(self, data: bytes) -> None:
        """Bytes of the program came."""

    def ended(self) -> None:
        """The program says no more, or the copy is over. May be called again."""


class Copy:
    """Passes what a client said on to a stream, as fast as that takes it; a `Sink` of the stream.

    Attributes:
        is_over: The session, the program or the lack of room ended it: nothing more can be given to it.
        is_answered: The program has said all it will say.
        has_begun: Something was written.
        listener: Told of the program's answers, if somebody wants to know.
    """

    def __init__(self, stream: Stream, room: Room) -> None:
        self.is_over = False
        self.is_answered = False
        self.has_begun = False
        self.listener: Listener | None = None
        self._stream = stream
        self._room = room
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._may_send = True
        self._at_end: Callable[[], None] | None = None
        # At once: bytes may be given, and the link may find room for them again, before `run` runs.
        stream.set_sink(self)

    async def run(self) -> None:
        """Pass bytes on until the stream is closed."""
        stream = self._stream
        gone = asyncio.Event()
        stream.on_closed = gone.set
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await stream.accepted()
            if not stream.closed:
                await gone.wait()
        except (StreamRefused, TimeoutError):
            pass
        finally:
            self.cut()

    # The client's side.

    def write(self, data: bytes) -> int:
        """Keep bytes of the client until `flush`. Return 0, or how many chunks are lost: then the copy is over."""
        self.has_begun = True
        cost = len(data) + _CHUNK_OVERHEAD
        room = self._room
        if self._held + cost > room.copy_bytes or room.used + cost > room.total_bytes:
            lost = len(self._waiting) + 1
            self.cut()
            return lost
        self._waiting.append(data)
        self._held += cost
        room.used += cost
        return 0

    def finish(self) -> None:
        """End the stream after what was written: the client says no more."""
        self._at_end = self._stream.write_eof

    def abort(self) -> None:
        """Reset the stream after what was written: the client reset the connection."""
        self._at_end = self.cut

    def flush(self) -> None:
        """Send what the stream takes; the rest follows as it takes more."""
        while self._waiting and self._may_send:
            data = self._waiting.popleft()
            self._release(len(data) + _CHUNK_OVERHEAD)
            self._may_send = self._stream.send(data)
        if self._at_end is not None and self._may_send and not self.is_over:
            at_end, self._at_end = self._at_end, None
            at_end()

    def cut(self) -> None:
        """End it at once, for bytes are missing from here on, or nobody takes them."""
        self._drop()
        self._stream.refuse()

    # The stream's side.

    def data(self, data: bytes) -> None:
        """Throw away what the program answers: the original answers."""
        if self.listener is not None:
            self.listener.answered(data)
        self._stream.passed_on(len(data))

    def eof(self) -> None:
        """Note that the program says no more; it may still listen."""
        self.is_answered = True
        if self.listener is not None:
            self.listener.ended()

    def reset(self) -> None:
        """The program or the session does not listen any more."""
        self._drop()
        if self.listener is not None:
            self.listener.ended()

    def writable(self) -> None:
        """Send more of what waits."""
        self._may_send = True
        self.flush()

    def _drop(self) -> None:
        self.is_over = True
        self._waiting.clear()
        self._release(self._held)

    def _release(self, cost: int) -> None:
        self._held -= cost
        self._room.used -= cost
