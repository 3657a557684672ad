"""Joins a stream of the tunnel with a socket that keeps messages apart (SOCK_SEQPACKET of unix(7)).

Each message travels with its length before it (protocol/datagrams.py), ends pass both ways, and who is slow slows the
other. Transports know no such sockets; hence this file.
"""

import asyncio
import contextlib
import fcntl
import select
import socket
import struct
from collections import deque
from collections.abc import Callable

from inpod.protocol.datagrams import MAX_MESSAGE, DatagramError, MessageDecoder, encode_message
from inpod.tunnel import outlets
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.stream import Stream

SIOCINQ = 0x541B
"""Bytes that can be read (unix(7)); of all messages together."""


def join_messages(stream: Stream, sock: socket.socket, on_end: Callable[[], None], readiness: Readiness) -> None:
    """Pass messages between `stream` and `sock` from now on, as `relay.join` does with bytes."""
    sock.setblocking(False)
    # As much as the kernel grants: no message that another socket could send may be too long for this one.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE)
    _Bridge(stream, sock, on_end, readiness).start()


class _Bridge:
    """The stream's `Sink`, and the socket's `outlets.Outlet`."""

    def __init__(self, stream: Stream, sock: socket.socket, on_end: Callable[[], None], readiness: Readiness) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._sock: socket.socket | None = sock
        self._on_end = on_end
        self._readiness = readiness
        self._decoder = MessageDecoder()
        self._unsent: deque[bytes] = deque()
        """Messages for which the socket has no room; while one waits, the stream's sender gets no more credit."""
        self._owed = 0
        self._awaits_room = False
        self._socket_ended = False
        self._stream_ended = False

    def start(self) -> None:
        """Begin."""
        assert self._sock is not None
        outlets.add(self)
        self._readiness.add(self._sock, self._read)
        self._stream.set_sink(self)

    # What `outlets` asks.

    def get_write_buffer_size(self) -> int:
        """Return how much waits for the socket; empty messages count, too."""
        return len(self._unsent)

    def get_extra_info(self, name: str) -> socket.socket | None:
        """Return the socket."""
        return self._sock if name == "socket" else None

    # The socket's side.

    def _read(self) -> None:
        sock = self._sock
        assert sock is not None
        try:
            message = sock.recv(MAX_MESSAGE + 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.reset()
            return
        if not message and _is_at_end(sock):
            self._socket_ended = True
            self._readiness.remove(sock)
            self._stream.write_eof()
            self._close_if_ended()
        elif len(message) > MAX_MESSAGE:
            self.reset()
        elif not self._stream.send(encode_message(message)):
            self._readiness.remove(sock)

    def _write(self) -> None:
        while self._unsent and self._sock is not None:
            try:
                self._sock.send(self._unsent[0])
            except (BlockingIOError, InterruptedError):
                self._await_room(True)
                return
            except OSError:
                self.reset()
                return
            self._unsent.popleft()
        self._await_room(False)
        owed, self._owed = self._owed, 0
        self._stream.passed_on(owed)
        if self._stream_ended and self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
            self._close_if_ended()

    def _await_room(self, is_wanted: bool) -> None:
        if self._sock is not None and is_wanted != self._awaits_room:
            self._awaits_room = is_wanted
            if is_wanted:
                self._loop.add_writer(self._sock.fileno(), self._write)
            else:
                self._loop.remove_writer(self._sock.fileno())

    def _close_if_ended(self) -> None:
        if self._socket_ended and self._stream_ended and not self._unsent:
            self.reset()

    # The stream's side.

    def data(self, data: bytes) -> None:
        """Pass the messages on that this completes."""
        self._owed += len(data)
        try:
            self._unsent += self._decoder.feed(data)
        except DatagramError:
            self.reset()
            return
        if not self._awaits_room:
            self._write()

    def eof(self) -> None:
        """Say no more, once all is said."""
        self._stream_ended = True
        if not self._unsent:
            self._write()

    def reset(self) -> None:
        """End both at once, if they have not ended."""
        self._await_room(False)
        sock, self._sock = self._sock, None
        if sock is None:
            return
        self._readiness.remove(sock)
        self._unsent.clear()
        outlets.remove(self)
        sock.close()
        self._stream.refuse()
        self._on_end()

    def writable(self) -> None:
        """Read on."""
        if not self._socket_ended and self._sock is not None:
            self._readiness.add(self._sock, self._read)


def _is_at_end(sock: socket.socket) -> bool:
    """Return whether the far end says no more, which looks like an empty message."""
    (left,) = struct.unpack("i", fcntl.ioctl(sock, SIOCINQ, bytes(4)))
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return not left and bool(poll.poll(0))
