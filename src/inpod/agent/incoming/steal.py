"""Steals ports: accepts what the redirect diverts, and offers each connection to the session."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable

from inpod.agent.incoming.claims import Claims
from inpod.agent.incoming.heart import Heart
from inpod.agent.incoming.redirect.base import Redirect
from inpod.agent.incoming.redirect.sk_lookup import SkLookup, explain
from inpod.protocol.agent import Address, Incoming, encode
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import StreamRefused, Tunnel

ANSWER_LIMIT_S = 15.0
"""How long the session may take to connect to the program; it gives up itself after 10 s."""

MAX_CONNECTIONS = 8192
"""Stolen connections at a time; further ones wait in the listeners' queues."""

ACCEPTED_AT_A_TIME = 64
"""Connections accepted in one turn of the loop."""

RETRY_ACCEPT_S = 0.1
"""How soon accepting is tried again when descriptors have run out."""


class Steal:
    """All stolen ports of one session."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._loop = asyncio.get_running_loop()
        self._redirect: Redirect | None = None
        self._claims = Claims()
        self._heart = Heart(tunnel, self._beat, self._rest)
        self._ports: dict[int, StolenPort] = {}
        self._count = 0

    def add(self, port: int, group: asyncio.TaskGroup) -> None:
        """Steal a port from here on; `group` runs the connections' tasks, which go on when the port is removed.

        Raises:
            OSError: Not possible; `strerror` says why.
        """
        if not self._claims.claim(port):
            raise OSError(errno.EADDRINUSE, f"another session steals port {port} of this pod")
        try:
            redirect = self._ready_redirect()
            listeners = redirect.steal(port)
        except BaseException:
            self._claims.release(port)
            raise
        stolen = self._ports[port] = StolenPort(listeners, lambda sock: self._on_connection(port, group, sock))
        stolen.listen()
        self._heart.start()

    def remove(self, port: int) -> None:
        """Give a port back. Connections that wait for us are reset; those of the program go on."""
        if (stolen := self._ports.pop(port, None)) is not None:
            stolen.stop()
            if self._redirect is not None:
                self._redirect.release(port)
        self._claims.release(port)
        if not self._ports:
            self.close()

    def close(self) -> None:
        """Give every port back."""
        self._heart.stop()
        for stolen in self._ports.values():
            stolen.stop()
        self._ports.clear()
        if self._redirect is not None:
            self._redirect.close()
            self._redirect = None
        self._claims.close()

    def _ready_redirect(self) -> Redirect:
        if self._redirect is None:
            try:
                self._redirect = SkLookup()
            except OSError as error:
                raise OSError(error.errno, explain(error, os.uname().release)) from error
        return self._redirect

    def _beat(self) -> None:
        # What was let go in a silence may be another's by now: it comes back when that one leaves.
        if self._redirect is not None and all(self._claims.claim(port) for port in self._ports):
            self._redirect.beat()

    def _rest(self) -> None:
        if self._redirect is not None:
            self._redirect.rest()
        self._claims.close()

    def _on_connection(self, port: int, group: asyncio.TaskGroup, sock: socket.socket) -> None:
        self._count += 1
        if self._count >= MAX_CONNECTIONS:
            for stolen in self._ports.values():
                stolen.stop()
        group.create_task(self._deliver(port, sock)).add_done_callback(self._on_gone)

    def _on_gone(self, _: "asyncio.Task[None]") -> None:
        self._count -= 1
        if self._count == MAX_CONNECTIONS - 1:
            for stolen in self._ports.values():
                stolen.listen()

    async def _deliver(self, port: int, sock: socket.socket) -> None:
        """Offer a connection to the session; pass its bytes on until both directions ended, or reset it."""
        try:
            peer, own = _address(sock.getpeername()), _address(sock.getsockname())
        except OSError:
            sock.close()  # the client is gone already
            return
        if own.port != port:
            sock.close()  # it called the listener's own address, which is nobody's business
            return
        stream = self._tunnel.open(encode(Incoming(port, "steal", peer, own)))
        is_taken = False
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await stream.accepted()
            is_taken = True
        except (StreamRefused, TimeoutError):
            pass
        finally:
            if not is_taken:
                stream.refuse()
                _reset(sock)
        if is_taken:
            await relay(stream, sock)


class StolenPort:
    """Accepts connections from the listeners of one port."""

    def __init__(self, listeners: list[socket.socket], on_connection: Callable[[socket.socket], None]) -> None:
        self._listeners = listeners
        self._on_connection = on_connection
        self._loop = asyncio.get_running_loop()
        self._retry: asyncio.TimerHandle | None = None
        self._is_listening = False

    def listen(self) -> None:
        """Accept connections."""
        self._is_listening = True
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def stop(self) -> None:
        """Accept no more; call before the listeners are closed."""
        self._is_listening = False
        if self._retry is not None:
            self._retry.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_A_TIME):
            if not self._is_listening:
                return
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ECONNABORTED, errno.EINTR, errno.EPROTO):
                    continue
                self.stop()
                self._retry = self._loop.call_later(RETRY_ACCEPT_S, self.listen)
                return
            self._on_connection(sock)


def _address(raw: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    # Link-local addresses come with the device's name.
    return Address(raw[0].partition("%")[0], raw[1])


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
