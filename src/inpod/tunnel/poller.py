"""One epoll(7) for many sockets, which the event loop watches. The kernel is told of each once (edge-triggered)."""

import asyncio
import select
import socket
from typing import Final, Protocol

MAX_EVENTS = 256
"""Sockets that are served in one look."""

MOST_LOOKS = 3
"""Looks in a turn of the loop, while there is something: a turn of its own takes the loop several calls more."""

_WATCHED: Final = select.EPOLLIN | select.EPOLLPRI | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Watched(Protocol):
    """Who is told of a socket."""

    def on_events(self, events: int) -> None:
        """The kernel tells what may be done."""

    def read(self) -> None:
        """Take what came."""

    def fail(self, error: Exception) -> None:
        """End: it had a fault."""


class Poller:
    """The epoll of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._is_in_turn = False
        self._lost: list[tuple[asyncio.Protocol, Exception | None]] = []
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def add(self, sock: socket.socket, watched: Watched) -> None:
        """Watch a socket.

        Raises:
            OSError: The kernel cannot.
        """
        number = sock.fileno()
        self._epoll.register(number, _WATCHED)
        self._watched[number] = watched

    def forget(self, number: int, *, still_open: bool = False) -> None:
        """Watch a socket no more; of one that is closed then, the kernel knows by itself."""
        self._watched.pop(number, None)
        if still_open:
            self._epoll.unregister(number)

    def tell_lost(self, protocol: asyncio.Protocol, error: Exception | None) -> None:
        """Tell a protocol that its connection is lost, once what is being done has returned: in this turn, if it is ours."""
        if self._is_in_turn:
            self._lost.append((protocol, error))
        else:
            self.loop.call_soon(protocol.connection_lost, error)

    def read_soon(self, watched: Watched) -> None:
        """Have it read in the next turn."""
        self.loop.call_soon(self._read, watched)

    def report(self, error: Exception) -> None:
        """Say that a protocol has a fault."""
        self.loop.call_exception_handler({"message": "fault of a protocol", "exception": error})

    def _on_events(self) -> None:
        self._is_in_turn = True
        for _ in range(MOST_LOOKS):
            if not (found := self._epoll.poll(0, MAX_EVENTS)):
                break
            self._tell(found)
        while self._lost:
            protocol, reason = self._lost.pop()
            try:
                protocol.connection_lost(reason)
            except Exception as error:
                self.report(error)
        self._is_in_turn = False

    def _tell(self, found: list[tuple[int, int]]) -> None:
        find = self._watched.get
        for number, events in found:
            watched = find(number)
            if watched is not None:
                try:
                    watched.on_events(events)
                except Exception as error:
                    # The edges of others must not be lost for it.
                    watched.fail(error)

    def _read(self, watched: Watched) -> None:
        try:
            watched.read()
        except Exception as error:
            watched.fail(error)
