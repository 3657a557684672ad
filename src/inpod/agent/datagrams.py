"""UDP from the target's network on behalf of the program: one connected socket for each of its sockets.

The stream stays as long as datagrams pass. The session ends it by EOF; the kernel's errors end it by RESET, with their
errno. Whatever finds no room is dropped, as UDP may: nothing here waits or grows.
"""

import asyncio
import errno
import ipaddress
import os
import socket

from inpod.protocol.agent import Address, ConnectUdp
from inpod.protocol.datagrams import MAX_DATAGRAM, DatagramDecoder, DatagramError, encode
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.streams import Stream

MAX_SOCKETS = 4096
"""Sockets at a time; further ones are refused with EAGAIN. Twice the session's own limit: some are about to end."""

IDLE_LIMIT_S = 120.0
"""Without a datagram for so long the socket is closed. The session asks for another one when the program sends again."""

AT_ONCE = 64
"""Datagrams that are read of one socket before others have their turn."""

DROPS = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EMSGSIZE, errno.EINTR}
"""Errors of one datagram, which say nothing of the way."""


class Datagrams:
    """Answers `ConnectUdp`."""

    def __init__(self, idle_limit_s: float = IDLE_LIMIT_S) -> None:
        self._idle_limit_s = idle_limit_s
        self._readiness = Readiness()
        self._count = 0

    async def connect(self, stream: Stream, request: ConnectUdp) -> None:
        """Accept, and pass datagrams on until the session ends it or none came for long.

        Raises:
            OSError: The kernel's errno, at once or for a datagram sent before.
        """
        if self._count >= MAX_SOCKETS:
            raise OSError(errno.EAGAIN, f"{MAX_SOCKETS} UDP sockets are open at a time at most")
        self._count += 1
        try:
            with _open(request.to) as sock:
                await self._pass_on(stream, sock)
        finally:
            self._count -= 1

    async def _pass_on(self, stream: Stream, sock: socket.socket) -> None:
        clock = asyncio.get_running_loop().time
        flow = _Flow(stream, sock, self._readiness)
        try:
            stream.accept()
            stream.set_sink(flow)
            seen, since = flow.count, clock()
            while not flow.ended.done() and (left := since + self._idle_limit_s - clock()) > 0:
                await asyncio.wait([flow.ended], timeout=left)
                if flow.count != seen:
                    seen, since = flow.count, flow.last
            if flow.ended.done():
                flow.ended.result()
            # This task has done its work: the end of the stream must not cancel it.
            stream.on_closed = None
            stream.write_eof()
        finally:
            flow.close()


class _Flow:
    """One socket and the `Sink` of its stream.

    Attributes:
        ended: The session said EOF; or an OSError.
        count: Datagrams so far, both ways.
        last: Loop time of the last one.
    """

    def __init__(self, stream: Stream, sock: socket.socket, readiness: Readiness) -> None:
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._sock = sock
        self._readiness = readiness
        self._decoder = DatagramDecoder()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self.count = 0
        self.last = self._loop.time()
        readiness.add(sock, self._readable)

    def close(self) -> None:
        """Take no more."""
        self._readiness.remove(self._sock)
        # Done in any case: an error that comes too late is told to nobody.
        if not self.ended.cancel() and not self.ended.cancelled():
            self.ended.exception()

    # The socket's side.

    def _readable(self) -> None:
        for _ in range(AT_ONCE):
            try:
                datagram = self._sock.recv(MAX_DATAGRAM + 1)
            except OSError as error:
                self._failed(error)
                return
            if len(datagram) > MAX_DATAGRAM:
                continue
            self._passed()
            if not self._stream.send(encode(datagram)):
                # What comes meanwhile waits in the socket's buffer; the kernel drops what is more.
                self._readiness.remove(self._sock)
                return

    def _failed(self, error: OSError) -> None:
        if error.errno not in DROPS and not self.ended.done():
            self._readiness.remove(self._sock)
            self.ended.set_exception(error)

    def _passed(self) -> None:
        self.count += 1
        self.last = self._loop.time()

    # The stream's side.

    def data(self, data: bytes) -> None:
        self._stream.passed_on(len(data))
        try:
            datagrams = self._decoder.feed(data)
        except DatagramError as error:
            self._failed(OSError(errno.EPROTO, str(error)))
            return
        for datagram in datagrams:
            if self.ended.done():
                return
            self._passed()
            try:
                self._sock.send(datagram)
            except OSError as error:
                self._failed(error)

    def eof(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def reset(self) -> None:
        """Nothing: who serves the stream is cancelled by its end."""

    def writable(self) -> None:
        if not self.ended.done():
            self._readiness.add(self._sock, self._readable)


def _open(to: Address) -> socket.socket:
    """Return a connected, non-blocking socket.

    Raises:
        OSError: The kernel's errno; EINVAL when `to` is no numeric address.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(to.ip).version == 6 else socket.AF_INET
    except ValueError as error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect((to.ip, to.port))
    except BaseException:
        sock.close()
        raise
    return sock
