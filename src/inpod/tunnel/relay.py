"""Joins a stream of the tunnel with a socket: bytes, half-closes, resets and slowness pass both ways.

On the bare socket, without a transport of the loop and without a task: a connection may live for one byte.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable

from inpod.tunnel import outlets
from inpod.tunnel.readiness import READ, WRITE
from inpod.tunnel.stream import Stream

ROOM, LARGE_ROOM = 16 * 1024, 256 * 1024
"""Bytes that one call reads; the larger where the one before was filled."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""struct linger, on with 0 s: close(2) then sends RST instead of FIN (socket(7), tcp(7))."""


async def relay(stream: Stream, sock: socket.socket, *, discard: bool = False) -> None:
    """Pass bytes between `stream` and `sock` until both directions ended, as `join`. Cancelling resets both."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end() -> None:
        if not done.done():
            done.set_result(None)

    bridge = join(stream, sock, end, discard=discard)
    try:
        await done
    finally:
        bridge.reset()


def join(stream: Stream, sock: socket.socket, on_end: Callable[[], None], *, discard: bool = False) -> "Bridge":
    """Pass bytes between `stream` and `sock` from now on; takes over both, and calls `on_end` once both have ended.

    A reset of one is a reset of the other. A side that is slow slows the other, and nobody else. What the stream
    received before is passed on, too.

    Args:
        discard: Throw away what the socket says: the stream is a copy that wants no answer.
    """
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    bridge = (_Copy if discard else Bridge)(stream, sock, on_end)
    bridge.start()
    return bridge


class Bridge:
    """The socket's side and the stream's `Sink` in one, so that no byte waits for a task."""

    __slots__ = ("_events", "_on_end", "_room", "_sock", "_socket_ended", "_stream", "_stream_ended", "_unsent")

    def __init__(self, stream: Stream, sock: socket.socket, on_end: Callable[[], None]) -> None:
        self._stream = stream
        self._sock: socket.socket | None = sock
        self._on_end = on_end
        self._events = 0
        """What of the socket is waited for; 0: nothing, and the socket is not watched."""
        self._room = ROOM
        self._unsent: deque[bytes | memoryview] = deque()
        self._socket_ended = False
        self._stream_ended = False

    def start(self) -> None:
        """Begin."""
        outlets.add(self)
        self._stream.set_sink(self)
        self._wait_for(self._events | READ)

    def reset(self) -> None:
        """End both at once, if they have not ended."""
        if self._sock is not None:
            if self._sock.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._close()

    # What `outlets` asks.

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait for the socket."""
        return sum(map(len, self._unsent))

    def get_extra_info(self, name: str) -> socket.socket | None:
        """Return the socket."""
        return self._sock if name == "socket" else None

    # The socket's side.

    def _ready(self) -> None:
        if self._events & READ:
            self._read()
        if self._events & WRITE:
            self._write()

    def _read(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(self._room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.reset()
            return
        self._room = LARGE_ROOM if len(data) == self._room else ROOM
        if not data:
            self._socket_ended = True
            self._wait_for(self._events & ~READ)
            self._stream.write_eof()
            self._close_if_ended()
        elif not self._read_more(data):
            self._wait_for(self._events & ~READ)

    def _read_more(self, data: bytes) -> bool:
        """Take what the socket said; return whether more may come now."""
        return self._stream.send(data)

    def _write(self) -> None:
        while self._unsent:
            data = self._unsent.popleft()
            sent = self._send(data)
            if sent < len(data):
                self._unsent.appendleft(memoryview(data)[sent:])
                return
        self._wait_for(self._events & ~WRITE)
        if self._stream_ended:
            self._end_writing()

    def _send(self, data: bytes | memoryview) -> int:
        """Return how many bytes the socket took; those of a socket that has failed count as taken."""
        if self._sock is None:
            return len(data)
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.reset()
            return len(data)
        self._stream.passed_on(sent)
        return sent

    def _end_writing(self) -> None:
        if self._sock is not None and not self._socket_ended:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
        self._close_if_ended()

    def _close_if_ended(self) -> None:
        if self._socket_ended and self._stream_ended and not self._unsent:
            self._close()

    def _close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is None:
            return
        if self._events:
            self._stream.readiness.remove(sock)
            self._events = 0
        self._unsent.clear()
        outlets.remove(self)
        sock.close()
        self._stream.refuse()
        self._on_end()

    def _wait_for(self, events: int) -> None:
        if events == self._events or self._sock is None:
            return
        readiness = self._stream.readiness
        # Not watched at all for nothing: epoll would go on telling that the far end hung up.
        if not events:
            readiness.remove(self._sock)
        elif not self._events:
            readiness.add(self._sock, self._ready, events)
        else:
            readiness.change(self._sock, events)
        self._events = events

    # The stream's side.

    def data(self, data: bytes) -> None:
        """Pass on what the stream received; what does not fit the socket waits, and the stream's sender with it."""
        if self._unsent:
            self._unsent.append(data)
            return
        sent = self._send(data)
        if sent < len(data):
            self._unsent.append(memoryview(data)[sent:])
            self._wait_for(self._events | WRITE)

    def eof(self) -> None:
        """Say no more, once all is said."""
        self._stream_ended = True
        if not self._unsent:
            self._end_writing()

    def writable(self) -> None:
        """Read on."""
        if not self._socket_ended:
            self._wait_for(self._events | READ)


class _Copy(Bridge):
    """A bridge towards the socket only; of the other direction nothing passes but its end."""

    __slots__ = ()

    def _read_more(self, data: bytes) -> bool:
        return True

    def eof(self) -> None:
        self._stream.write_eof()
        super().eof()
