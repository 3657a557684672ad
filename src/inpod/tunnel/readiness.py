"""Tells when datagram sockets can be read or have an error: an epoll(7) of its own, which the event loop watches.

uvloop stops to watch a socket, without a word, at its first error. An ICMP error of a UDP socket ends nothing.
"""

import asyncio
import select
import socket
from collections.abc import Callable

MAX_EVENTS = 256
"""Sockets that are served in one turn of the loop."""


class Readiness:
    """Calls for each socket that was added, until what there was to read is read."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._calls: dict[int, Callable[[], None]] = {}

    def add(self, sock: socket.socket, call: Callable[[], None]) -> None:
        """Call `call` whenever `sock` has data or an error. It must not raise."""
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._ready)
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._calls[sock.fileno()] = call

    def remove(self, sock: socket.socket) -> None:
        """Call no more for `sock`; before it is closed. The last one takes the epoll with it."""
        if self._calls.pop(sock.fileno(), None) is None or self._epoll is None:
            return
        self._epoll.unregister(sock.fileno())
        if not self._calls:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _ready(self) -> None:
        if self._epoll is None:
            return
        for number, _ in self._epoll.poll(0, MAX_EVENTS):
            call = self._calls.get(number)
            if call is not None:
                call()
