"""Connections of our own to the original, past the redirect."""

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from inpod.agent.incoming.redirect.base import Redirect
from inpod.protocol.agent import Address
from inpod.tunnel.local_ports import ATTEMPTS, LocalPorts

_DEVICES = Path("/proc/thread-self/net/if_inet6")

_To = tuple[str, int] | tuple[str, int, int, int]
"""An address as the socket calls take it."""


def connect_original(redirect: Redirect, called: Address) -> socket.socket | Awaitable[socket.socket]:
    """Return a non-blocking socket that is connected to what the client called, from that same address, or wait for it.

    So it arrives where the client's own connection would have, whatever address the original listens on. Its exemption
    from the redirect ends when it is closed. Most are connected at once: nobody is nearer than the original.

    Raises:
        OSError: The kernel's errno; also from what is waited for.
    """
    for _ in range(ATTEMPTS):
        sock = _Exempt(socket.AF_INET6 if ":" in called.ip else socket.AF_INET)
        try:
            _PORTS.bind(sock, called.ip)
            sock.at_close.append(redirect.exempt(sock))
            to = _named(called.ip, called.port)
            is_connected = _connect(sock, to)
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
                raise
        else:
            return sock if is_connected else _connected(sock, to)
    raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


def _connect(sock: socket.socket, to: _To) -> bool:
    """Begin to connect; return whether that is done."""
    error = sock.connect_ex(to)
    if error == errno.EINPROGRESS:
        # When the call returns, the original's kernel has answered, as a rule, and this one says how.
        error = sock.connect_ex(to)
    if error and error != errno.EALREADY:
        raise OSError(error, os.strerror(error))
    return not error


async def _connected(sock: socket.socket, to: _To) -> socket.socket:
    try:
        await asyncio.get_running_loop().sock_connect(sock, to)
    except BaseException:
        sock.close()
        raise
    return sock


class _Exempt(socket.socket):
    """A socket that undoes what belongs to it when it is closed, in whichever way.

    Attributes:
        at_close: What to undo.
    """

    __slots__ = ("at_close",)

    def __init__(self, family: socket.AddressFamily) -> None:
        self.at_close: list[Callable[[], None]] = []
        super().__init__(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def close(self) -> None:
        super().close()
        self._undo()

    def __del__(self) -> None:
        # For who forgets to close it.
        super().__del__()  # type: ignore[misc]  # typeshed does not know it
        self._undo()

    def _undo(self) -> None:
        while self.at_close:
            self.at_close.pop()()


class _Ports:
    """The local ports of our connections."""

    def __init__(self) -> None:
        self._turn = LocalPorts()
        self._taken: set[tuple[str, int]] = set()

    def bind(self, sock: "_Exempt", ip: str) -> None:
        """Bind `sock`; its port is free again when it is closed.

        Raises:
            OSError: EADDRINUSE: another process has the port; EADDRNOTAVAIL: all are taken.
        """
        port = self._turn.name(sock, lambda port: (ip, port) in self._taken)
        sock.bind(_named(ip, port))
        self._taken.add((ip, port))
        sock.at_close.append(lambda: self._taken.discard((ip, port)))


_PORTS = _Ports()


def _named(ip: str, port: int) -> _To:
    """Return the address: a link-local one of ours with its device."""
    if not ip.startswith("fe80:"):
        return ip, port
    packed = socket.inet_pton(socket.AF_INET6, ip).hex()
    for line in _DEVICES.read_text().splitlines():
        address, index, *_ = line.split()
        if address == packed:
            return ip, port, 0, int(index, 16)
    raise OSError(errno.EADDRNOTAVAIL, f"no device has {ip}")
