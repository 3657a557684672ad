"""Joins two streams, each of a tunnel of its own: bytes, half-closes, resets and slowness pass both ways."""

import asyncio

from inpod.tunnel.stream import Stream


async def pipe(one: Stream, other: Stream) -> None:
    """Pass bytes between two streams until both directions ended; takes over both. Cancelling resets both."""
    ended = asyncio.Event()

    def check() -> None:
        if one.closed and other.closed:
            ended.set()

    one.on_closed = other.on_closed = check
    first, second = _End(one), _End(other)
    first.other, second.other = second, first
    one.set_sink(first)
    other.set_sink(second)
    check()
    try:
        await ended.wait()
    finally:
        one.refuse()
        other.refuse()


class _End:
    """The `Sink` of one stream: what that receives is sent on the other."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.other = self
        self.is_reset = False
        self.owed = 0
        """Bytes that wait in the other stream: their sender gets no credit for them yet."""

    def data(self, data: bytes) -> None:
        if self.other.stream.send(data):
            self.stream.passed_on(len(data))
        else:
            self.owed += len(data)

    def writable(self) -> None:
        owed, self.other.owed = self.other.owed, 0
        self.other.stream.passed_on(owed)

    def eof(self) -> None:
        self.other.stream.write_eof()

    def reset(self) -> None:
        # Once: the other stream tells its own end, which would tell us.
        if not self.is_reset:
            self.is_reset = self.other.is_reset = True
            self.other.stream.refuse()
