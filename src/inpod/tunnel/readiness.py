"""Tells when sockets can be read, can be written to or have an error: an epoll(7) of its own, which the event loop watches.

uvloop stops to watch a socket, without a word, at its first error. An ICMP error of a UDP socket ends nothing. For the bytes
of connections there are `transport`s.
"""

import asyncio
import select
import socket
from collections.abc import Callable

MAX_EVENTS = 256
"""Sockets that are served in one turn of the loop."""

READ, WRITE = select.EPOLLIN, select.EPOLLOUT


class Readiness:
    """Calls for each socket that was added, as long as it is ready; errors count as ready. Used within one loop."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None
        self._calls: dict[int, Callable[[], None]] = {}

    def add(self, sock: socket.socket, call: Callable[[], None], events: int = READ) -> None:
        """Call `call` whenever `sock` is ready for one of `events`. It must not raise."""
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._ready)
        self._epoll.register(sock.fileno(), events)
        self._calls[sock.fileno()] = call

    def remove(self, sock: socket.socket) -> None:
        """Call no more for `sock`, if it was added; before it is closed."""
        if self._epoll is not None and self._calls.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def close(self) -> None:
        """Call for no socket any more. What is added later is watched again."""
        self._calls.clear()
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _ready(self) -> None:
        if self._epoll is None:
            return
        for number, _ in self._epoll.poll(0, MAX_EVENTS):
            # Not there: a call before this one removed it.
            if (call := self._calls.get(number)) is not None:
                call()
