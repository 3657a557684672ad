"""Answers the layers: a SOCK_SEQPACKET unix socket in the session's folder, one datagram each way.

asyncio's streams know neither this kind of socket nor passed descriptors; hence this file.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from inpod.protocol.layer import MAX_DATAGRAM, LayerProtocolError, Request, Trace, decode_request, encode_reply
from inpod.tunnel.acceptor import Acceptor

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 4096
ACCEPTED_AT_A_TIME = 64
_ONE_FD = socket.CMSG_SPACE(4)

Handler = Callable[[Request, int], bytes | Awaitable[bytes]]
"""Takes a request and the descriptor that came with it, which it then owns (-1: none); returns the reply, now or later."""


class LayerServer:
    """Listens until closed. Requests of one connection are answered in order."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[_Connection] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(512)
        self._listener.setblocking(False)
        self._acceptor = Acceptor([self._listener], self._take, at_a_time=ACCEPTED_AT_A_TIME)

    def close(self) -> None:
        """Stop; layers that ask get an end of file and go on without us."""
        self._acceptor.close()
        self._listener.close()
        for connection in list(self._connections):
            connection.close()

    def _take(self, sock: socket.socket, _: object) -> None:
        pid, uid, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.getuid()) or len(self._connections) >= MAX_CONNECTIONS:
            sock.close()
        else:
            self._connections.add(_Connection(sock, pid, self._handler, self._connections))


class _Connection:
    def __init__(self, sock: socket.socket, process: int, handler: Handler, home: "set[_Connection]") -> None:
        self._sock = sock
        self._process = process
        self._handler = handler
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Future[bytes] | None = None
        self._is_reading = True
        sock.setblocking(False)
        self._loop.add_reader(sock, self._read)

    def close(self) -> None:
        self._home.discard(self)
        self._loop.remove_reader(self._sock)
        self._sock.close()
        if self._task is not None:
            self._task.cancel()

    def _read(self) -> None:
        if self._task is not None:
            # The next request of this connection, or its end, waits until this one is answered. Not done for each answer
            # that comes later: it is two system calls, and a layer waits anyway.
            self._loop.remove_reader(self._sock)
            self._is_reading = False
            return
        try:
            # Not `socket.recv_fds`: in Python 3.11 it does not pass the flag on.
            data, ancillary, _, _ = self._sock.recvmsg(MAX_DATAGRAM, _ONE_FD, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        fd = _descriptor(ancillary)
        if not data:
            if fd >= 0:
                os.close(fd)
            self.close()
            return
        try:
            request = decode_request(data)
            if isinstance(request, Trace):
                request = request._replace(process=self._process)
            reply = self._handler(request, fd)
        except LayerProtocolError:
            if fd >= 0:
                os.close(fd)
            self.close()
            return
        except Exception:
            log.exception("A call of the program failed")
            reply = encode_reply(errno.EIO)
        if isinstance(reply, bytes):
            self._send(reply)
            return
        self._task = asyncio.ensure_future(reply)
        self._task.add_done_callback(self._answered)

    def _answered(self, task: "asyncio.Future[bytes]") -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("A call of the program failed", exc_info=error)
        if self._sock.fileno() < 0:
            return
        if not self._is_reading:
            self._is_reading = True
            self._loop.add_reader(self._sock, self._read)
        self._send(encode_reply(errno.EIO) if error is not None else task.result())

    def _send(self, reply: bytes) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(reply)
            return
        self.close()


def _descriptor(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """Return the descriptor that came along, -1 for none. The room for ancillary data may hold two; only one is kept."""
    found = [
        fd
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for (fd,) in struct.iter_unpack("i", data[: len(data) // 4 * 4])
    ]
    for extra in found[1:]:
        os.close(extra)
    return found[0] if found else -1
