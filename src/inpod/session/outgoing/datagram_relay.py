"""The loopback end of one UDP socket of the program; `datagrams` says how they live."""

import asyncio
import contextlib
import logging
import socket
from typing import Protocol

from inpod.protocol.datagrams import MAX_DATAGRAM, DatagramDecoder, DatagramError, encode
from inpod.protocol.layer import Addr, Connect
from inpod.session.kernel_sockets import Place
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.streams import Stream

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Datagrams that are read of one socket before others have their turn."""

LEFT_AT_MOST = 1024
"""Datagrams that may wait in a socket: each takes more than 512 bytes of its buffer, which has 208 KiB by default."""

Endpoint = tuple[str, int]


class Home(Protocol):
    """Who has the relays."""

    def open(self, relay: "Relay") -> Stream | None:
        """Return a stream to the pod, for a relay that has none; None: what it has is to be dropped."""

    def keeps(self, relay: "Relay", datagram: bytes) -> bool:
        """Return whether a datagram is answered here and not the pod's."""

    def gone(self, relay: "Relay") -> None:
        """End a relay: nobody is at the program's end."""


class Relay:
    """One socket on loopback, connected to one of the program's.

    Attributes:
        own: Where it is.
        place: The same, as the kernel lists it.
        inode: Of the program's socket.
        stream: To the pod's socket, None while there is none.
        refusing_until: Loop time; None while taking.
    """

    def __init__(
        self, sock: socket.socket, program: Endpoint, inode: int, request: Connect, readiness: Readiness, home: Home
    ) -> None:
        self.sock = sock
        self.own: Endpoint = sock.getsockname()[:2]
        self.place: Place = (Addr.of(*self.own).ip, self.own[1])
        self.inode = inode
        self.request = request
        self.stream: Stream | None = None
        self.refusing_until: float | None = None
        self._program = program
        self._readiness = readiness
        self._home = home
        self._is_paused = False
        self._is_closed = False
        self._without_stream_since = asyncio.get_running_loop().time()
        readiness.add(sock, self.readable)

    def is_idle(self, since: float) -> bool:
        """Return whether it is one of an unconnected socket, and has had no stream since that loop time."""
        return self.request.is_send and self.stream is None and self._without_stream_since < since

    def close(self) -> None:
        """End; what the program sent is still delivered, as far as the stream takes it at once."""
        self._read(LEFT_AT_MOST)
        self._is_closed = True
        self.forget_stream()
        self._readiness.remove(self.sock)
        self.sock.close()

    def join(self, stream: Stream) -> None:
        """Pass datagrams on between the program's socket and a stream."""
        self.stream = stream
        stream.set_sink(_Replies(self, stream))

    def forget_stream(self) -> None:
        """End the stream, if there is one. The next datagram opens another."""
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.write_eof()
            self._without_stream_since = asyncio.get_running_loop().time()
            self._resume()

    def refuse(self, until: float) -> None:
        """Have the kernel answer the program's datagrams with ECONNREFUSED: no socket of this port wants them."""
        self.forget_stream()
        self.refusing_until = until
        self._connect(self.own)

    def take(self) -> None:
        """Take the program's datagrams again."""
        self.refusing_until = None
        self._connect(self._program)

    def give(self, datagram: bytes) -> None:
        """Send to the program; dropped when its buffer is full."""
        if self._is_closed or self.refusing_until is not None:
            return
        try:
            self.sock.send(datagram)
        except ConnectionRefusedError:
            self._home.gone(self)
        except OSError as error:
            log.debug("a datagram for %s was dropped: %s", self.own, error)

    def readable(self) -> None:
        """Pass on what the program sent."""
        self._read(AT_ONCE)

    def _read(self, count: int) -> None:
        for _ in range(count):
            if self._is_closed or self._is_paused:
                return
            try:
                datagram, sender = self.sock.recvfrom(MAX_DATAGRAM + 1)
            except ConnectionRefusedError:
                self._home.gone(self)
                return
            except OSError:
                return
            # What came before the relay was connected may be anybody's.
            if sender[:2] == self._program and len(datagram) <= MAX_DATAGRAM and self.refusing_until is None:
                self._pass_on(datagram)

    def resume(self, stream: Stream) -> None:
        """`stream` has room again."""
        if stream is self.stream:
            self._resume()

    def _pass_on(self, datagram: bytes) -> None:
        if self._home.keeps(self, datagram):
            self._without_stream_since = asyncio.get_running_loop().time()
            return
        stream = self.stream
        if stream is None:
            if (stream := self._home.open(self)) is None:
                return
            self.join(stream)
        if not stream.send(encode(datagram)) and not self._is_paused:
            self._is_paused = True
            self._readiness.remove(self.sock)

    def _resume(self) -> None:
        if self._is_paused and not self._is_closed:
            self._is_paused = False
            self._readiness.add(self.sock, self.readable)

    def _connect(self, to: Endpoint) -> None:
        with contextlib.suppress(OSError):
            self.sock.connect(to)


class _Replies:
    """The `Sink` of a relay's stream."""

    def __init__(self, relay: Relay, stream: Stream) -> None:
        self._relay = relay
        self._stream = stream
        self._decoder = DatagramDecoder()

    def data(self, data: bytes) -> None:
        self._stream.passed_on(len(data))
        try:
            datagrams = self._decoder.feed(data)
        except DatagramError:
            self._stream.refuse()
            return
        for datagram in datagrams:
            self._relay.give(datagram)

    def eof(self) -> None:
        """No datagram passed for long: the agent has closed its socket."""
        if self._relay.stream is self._stream:
            self._relay.forget_stream()

    def reset(self) -> None:
        """Nothing: `Datagrams` waits for it, as it needs to know why."""

    def writable(self) -> None:
        self._relay.resume(self._stream)
