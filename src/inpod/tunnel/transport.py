"""Connected stream sockets on one epoll(7), which the event loop watches.

To a protocol each is what a transport of the loop is. They are for ports with thousands of connections, or with one for each
request: small, and made without a task, a future or a turn of the loop.

The kernel is told of a socket once (see `poller`). So what an edge said and nobody wanted yet is remembered.
"""

import asyncio
import contextlib
import mmap
import select
import socket
import struct
from typing import Final

from inpod.tunnel.poller import Poller

READ_BYTES = 128 * 1024
_BUFFER: Final = mmap.mmap(-1, READ_BYTES)
"""Of all sockets: memory for each read takes longer to get than a copy of what came. Slices of a mapping are bytes."""

MOST_READS = 4
"""Reads of one socket in a turn: others have theirs, too."""

MOST_PIECES = 64
"""Pieces that one call sends; the kernel takes 1024 (IOV_MAX)."""

HIGH_WATER = 64 * 1024
"""Bytes that wait for a slow reader before the protocol is told."""

_LOW_WATER = HIGH_WATER // 4

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""struct linger, on with 0 s: close(2) then sends RST instead of FIN (socket(7), tcp(7))."""

_ENDS: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_READS: Final = select.EPOLLIN | _ENDS


class Transport(asyncio.Transport):
    """A connected stream socket. Make it by `open_transport`."""

    __slots__ = (
        "_had_eof", "_has_marks", "_has_more", "_is_at_end", "_is_closing", "_is_reading", "_is_slow", "_poller", "_protocol", "_sends_eof", "_size",
        "_sock", "_waiting",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, protocol: asyncio.Protocol, poller: Poller, *, has_marks: bool) -> None:
        self._sock: socket.socket | None = sock
        self._protocol = protocol
        self._poller = poller
        # What the kernel has no room for; it tells when it has.
        self._waiting: list[bytes | memoryview] | None = None
        self._size = 0
        self._is_slow = False  # the protocol was told so
        self._has_more = True  # there may be something to read, or an end
        self._is_at_end = False  # behind what there is to read comes an end, or an error
        self._had_eof = False
        # A read may end before what there is does: behind urgent data (tcp(7)), or a descriptor (unix(7)).
        self._has_marks = has_marks
        self._is_reading = True
        self._sends_eof = False
        self._is_closing = False

    # As asyncio has it.

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return the socket."""
        return self._sock if name == "socket" and self._sock is not None else default

    def is_closing(self) -> bool:
        """Return whether it was closed, by us or the other end."""
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait."""
        return self._size

    def write(self, data: bytes) -> None:  # type: ignore[override]  # what is kept must not change
        """Send, at once as far as the kernel has room."""
        sock = self._sock
        if sock is None or self._is_closing:
            return
        if self._waiting is None:
            try:
                sent = sock.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self._lose(error)
                return
            size = len(data)
            if sent == size:
                return
            self._waiting, self._size = [memoryview(data)[sent:]], size - sent
        else:
            self._waiting.append(data)
            self._size += len(data)
        if self._size > HIGH_WATER and not self._is_slow:
            self._is_slow = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Say that it can."""
        return True

    def write_eof(self) -> None:
        """Half-close once all is sent."""
        if self._sock is not None and not self._is_closing:
            self._sends_eof = True
            if self._waiting is None:
                self._end()

    def close(self) -> None:
        """End once all is sent. Nothing more is read."""
        if not self._is_closing:
            self._is_closing = True
            if self._waiting is None:
                self._end()

    def abort(self) -> None:
        """End at once."""
        self._lose(None)

    def pause_reading(self) -> None:
        """Leave what comes to the kernel."""
        self._is_reading = False

    def resume_reading(self) -> None:
        """Take what comes."""
        self._is_reading = True
        if self._has_more:
            self._poller.read_soon(self)

    # What its poller and its maker call.

    def on_events(self, events: int) -> None:
        """The kernel tells what may be done."""
        if self._had_eof:
            if events & select.EPOLLERR:
                self._lose(ConnectionResetError())
        elif events & _READS:
            self._has_more = True
            if events & select.EPOLLPRI:
                self._has_marks = True
            if events & _ENDS:
                self._is_at_end = True
            self.read()
        if self._waiting is not None:
            self._send_waiting()

    def read(self) -> None:
        """Take what came."""
        reads = 0
        while (sock := self._sock) is not None and self._has_more and self._is_reading and not self._is_closing:
            if reads == MOST_READS:
                self._poller.read_soon(self)
                return
            reads += 1
            try:
                size = sock.recv_into(_BUFFER)
            except (BlockingIOError, InterruptedError):
                self._has_more = False
                return
            except OSError as error:
                self._lose(error)
                return
            if not size:
                self._has_more = False
                self._had_eof = True
                if not self._protocol.eof_received():
                    self.close()
                return
            # Less than there is room for is all there was, without marks: what comes later has an edge of its own.
            if size < READ_BYTES and not (self._is_at_end or self._has_marks):
                self._has_more = False
            self._protocol.data_received(_BUFFER[:size])

    def fail(self, error: Exception) -> None:
        """End for a fault of the protocol's: others go on."""
        self._poller.report(error)
        self._lose(error)

    def release(self) -> socket.socket:
        """Give the socket back. Nothing is heard of it any more, and nothing waits for it."""
        assert self._sock is not None
        assert self._waiting is None
        sock, self._sock = self._sock, None
        self._is_closing = True
        self._poller.forget(sock.fileno(), still_open=True)
        return sock

    def _send_waiting(self) -> None:
        if self._sock is None or self._waiting is None:
            return
        waiting, self._waiting = self._waiting, None
        self._send_all(self._sock, waiting)
        if self._size <= _LOW_WATER and self._is_slow and not self._is_closing:
            self._is_slow = False
            self._protocol.resume_writing()
        if self._waiting is None and (self._is_closing or self._sends_eof):
            self._end()

    def _send_all(self, sock: socket.socket, waiting: list[bytes | memoryview]) -> None:
        """Send several pieces, as far as there is room; what is left waits again."""
        at = 0
        while at < len(waiting):
            try:
                sent = sock.sendmsg(waiting[at : at + MOST_PIECES])
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lose(error)
                return
            self._size -= sent
            while at < len(waiting) and sent >= len(waiting[at]):
                sent -= len(waiting[at])
                at += 1
            if sent:
                waiting[at] = memoryview(waiting[at])[sent:]
        if at < len(waiting):
            self._waiting = waiting[at:]

    def _end(self) -> None:
        """All is sent: end, or half-close."""
        if self._is_closing:
            self._lose(None)
        elif self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def _lose(self, error: Exception | None) -> None:
        if self._sock is None:
            return
        sock, self._sock = self._sock, None
        self._is_closing = True
        self._waiting, self._size = None, 0
        self._poller.forget(sock.fileno())
        sock.close()
        self._poller.tell_lost(self._protocol, error)


def open_transport(sock: socket.socket, protocol: asyncio.Protocol) -> Transport:
    """Return the transport of a connected, non-blocking stream socket, which is the transport's from here on.

    The protocol is told at once that it is connected, and from the next turn on what comes.

    Raises:
        OSError: The kernel cannot watch it. It is still the caller's.
    """
    global _poller
    loop = asyncio.get_running_loop()
    if _poller is None or _poller.loop is not loop:
        _poller = Poller(loop)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        is_unix = False
    except OSError:
        is_unix = True
    transport = Transport(sock, protocol, _poller, has_marks=is_unix)
    _poller.add(sock, transport)
    protocol.connection_made(transport)
    return transport


def abort_with_reset(transport: asyncio.Transport) -> None:
    """Close at once; the peer sees a reset."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()


_poller: Poller | None = None
"""Of the loop that ran last: an agent has one."""
