"""Connections from the target's network on behalf of the program, with the kernel's own verdict."""

import errno
import os
import socket

from inpod.agent.namespaces import open_in_root
from inpod.protocol.agent import Address, Connect, Connected, ConnectUnix, Refusal, encode
from inpod.protocol.listing import path_bytes
from inpod.tunnel.messages import join_messages
from inpod.tunnel.readiness import WRITE, Readiness
from inpod.tunnel.relay import join
from inpod.tunnel.streams import Stream
from inpod.tunnel.tcp_state import is_established

MAX_CONNECTIONS = 16000
"""Connections at a time; further ones are refused with EAGAIN, as connect(2) says of a lack of ports."""


class Outgoing:
    """Answers `Connect` and `ConnectUnix`: no task for a connection, only what the kernel and the tunnel call."""

    def __init__(self) -> None:
        self._count = 0
        self._readiness = Readiness()

    def connect(self, stream: Stream, request: Connect) -> None:
        """Connect; answer now or when the kernel has decided, and pass bytes on until both directions have ended.

        Raises:
            OSError: It was decided at once: the connection cannot be made, and its errno is the kernel's.
        """
        self._one_more()
        try:
            sock, is_connected = _begin(request.to)
        except BaseException:
            self._one_less()
            raise
        if is_connected:
            self._connected(stream, sock)
            return

        def decided() -> None:
            self._readiness.remove(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                stream.refuse(encode(Refusal(code)))
            else:
                stream.on_closed = None
                self._connected(stream, sock)

        def unwanted() -> None:
            self._readiness.remove(sock)
            sock.close()
            self._one_less()

        stream.on_closed = unwanted
        self._readiness.add(sock, decided, WRITE)

    def connect_unix(self, stream: Stream, root: int, request: ConnectUnix) -> None:
        """As `connect`, to a socket below the directory `root`."""
        self._one_more()
        try:
            kind = socket.SOCK_SEQPACKET if request.keeps_messages else socket.SOCK_STREAM
            sock = open_unix(root, path_bytes(request.path), kind)
        except BaseException:
            self._one_less()
            raise
        stream.accept()
        if request.keeps_messages:
            join_messages(stream, sock, self._one_less, self._readiness)
        else:
            join(stream, sock, self._one_less)

    def _connected(self, stream: Stream, sock: socket.socket) -> None:
        stream.accept(encode(Connected(_address(sock))))
        join(stream, sock, self._one_less)

    def _one_more(self) -> None:
        if self._count >= MAX_CONNECTIONS:
            raise OSError(errno.EAGAIN, f"{MAX_CONNECTIONS} connections are open at a time at most")
        self._count += 1

    def _one_less(self) -> None:
        self._count -= 1


def open_unix(root: int, path: bytes, kind: socket.SocketKind) -> socket.socket:
    """Return a non-blocking socket, connected to the one at `path` below `root`, which must be of the same kind.

    Raises:
        OSError: The kernel's errno; EAGAIN when too many wait there.
    """
    place = open_in_root(root, path, os.O_PATH)
    try:
        sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        try:
            # By its descriptor: no link on the way can lead elsewhere meanwhile.
            sock.connect(f"/proc/self/fd/{place}")
        except BaseException:
            sock.close()
            raise
        return sock
    finally:
        os.close(place)


def _begin(to: Address) -> tuple[socket.socket, bool]:
    """Return a non-blocking socket that connects, and whether it has. The time limit is the kernel's.

    Raises:
        OSError: The kernel's errno; EINVAL when `to` is no numeric address.
    """
    family = socket.AF_INET6 if ":" in to.ip else socket.AF_INET
    try:
        # connect(2) of Python would ask a resolver.
        socket.inet_pton(family, to.ip.partition("%")[0])
    except (OSError, ValueError) as error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        code = sock.connect_ex((to.ip, to.port))
        is_connected = False
        if code in (0, errno.EINPROGRESS):
            is_connected = is_established(sock)
            code = 0 if is_connected else sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock, is_connected


def _address(sock: socket.socket) -> Address:
    ip, port = sock.getsockname()[:2]
    return Address(ip, port)
