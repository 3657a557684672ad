"""Connections from the target's network on behalf of the program, with the kernel's own verdict."""

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from inpod.agent.namespaces import open_in_root
from inpod.protocol.agent import Address, Connect, Connected, encode
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream

ESTABLISHED = 1
"""TCP_INFO's first byte (linux/tcp_states.h)."""

MAX_CONNECTIONS = 8192
"""Connections at a time; further ones are refused with EAGAIN, as connect(2) says of a lack of ports."""


class Outgoing:
    """Answers `Connect` and `ConnectUnix`."""

    def __init__(self) -> None:
        self._count = 0

    async def connect(self, stream: Stream, request: Connect) -> None:
        """Connect, answer, and pass bytes on until both directions have ended.

        Raises:
            OSError: The connection was not made; its errno is the kernel's.
        """
        with self._one_more():
            sock = await open_connection(request.to)
            # From here on the end of the stream is the relay's matter: bytes may still be on their way to the socket.
            stream.on_closed = None
            stream.accept(encode(Connected(_address(sock))))
            await relay(stream, sock)

    async def connect_unix(self, stream: Stream, root: int, path: bytes) -> None:
        """As `connect`, to a socket below the directory `root`."""
        with self._one_more():
            sock = open_unix(root, path)
            stream.on_closed = None
            stream.accept()
            await relay(stream, sock)

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        if self._count >= MAX_CONNECTIONS:
            raise OSError(errno.EAGAIN, f"{MAX_CONNECTIONS} connections are open at a time at most")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


def open_unix(root: int, path: bytes) -> socket.socket:
    """Return a non-blocking socket, connected to the one at `path` below `root`.

    Raises:
        OSError: The kernel's errno; EAGAIN when too many wait there.
    """
    place = open_in_root(root, path, os.O_PATH)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # By its descriptor: no link on the way can lead elsewhere meanwhile.
            sock.connect(f"/proc/self/fd/{place}")
        except BaseException:
            sock.close()
            raise
        return sock
    finally:
        os.close(place)


async def open_connection(to: Address) -> socket.socket:
    """Return a connected, non-blocking socket. The time limit is the kernel's, as for any program there.

    Raises:
        OSError: The kernel's errno; EINVAL when `to` is no numeric address.
    """
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(to.ip).version == 6 else socket.AF_INET
    except ValueError as error:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # The session joins and sends writes as they come; holding small ones back here would only add delay.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((to.ip, to.port))
        if code == errno.EINPROGRESS:
            # Within one machine the handshake is over before connect(2) returns.
            if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED:
                await _writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


async def _writable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def set_ready() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock.fileno(), set_ready)
    try:
        await ready
    finally:
        loop.remove_writer(sock.fileno())


def _address(sock: socket.socket) -> Address:
    ip, port = sock.getsockname()[:2]
    return Address(ip, port)
