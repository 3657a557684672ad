"""Accepts on listeners, as long as there are descriptors.

With none left a listener stays readable, and a loop that watches it would do nothing else. So it is left alone for a while.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

RETRY_S = 0.1
"""How soon accepting is tried again."""

_GONE = frozenset((errno.ECONNABORTED, errno.EINTR, errno.EPROTO))
"""Errors of the one who came, not of the listener (accept(2))."""


class Acceptor:
    """Accepts from here on, until `close`.

    Attributes:
        why_not: Why nothing could be accepted at the last attempt; "" when it could.
    """

    def __init__(
        self, listeners: Sequence[socket.socket], take: Callable[[socket.socket, Any], None], *, at_a_time: int = 1
    ) -> None:
        """Begin.

        Args:
            listeners: Non-blocking; still the caller's.
            take: Is given what was accepted, blocking as it comes, and the peer's address. It must not raise.
            at_a_time: Connections that are accepted in one turn of the loop.
        """
        self.why_not = ""
        self._listeners = listeners
        self._take = take
        self._at_a_time = at_a_time
        self._loop = asyncio.get_running_loop()
        self._is_on = False
        self._retry: asyncio.TimerHandle | None = None
        self.resume()

    def pause(self) -> None:
        """Leave those who come in the queue."""
        self._is_on = False
        if self._retry is not None:
            self._retry.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())

    def resume(self) -> None:
        """Accept again."""
        self._is_on = True
        for listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def take_waiting(self) -> None:
        """Accept all who are in the queue, also in a pause, as far as there are descriptors."""
        for listener in self._listeners:
            while self._accept_one(listener):
                pass

    def close(self) -> None:
        """Accept no more; before the listeners are closed. `resume` does nothing from here on."""
        self.pause()
        self._listeners = ()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(self._at_a_time):
            if not self._is_on or not self._accept_one(listener):
                return

    def _accept_one(self, listener: socket.socket) -> bool:
        """Return whether there may be another one."""
        try:
            sock, peer = listener.accept()
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _GONE:
                return True
            self.why_not = os.strerror(error.errno or errno.EIO)
            self.pause()
            self._retry = self._loop.call_later(RETRY_S, self.resume)
            return False
        self.why_not = ""
        self._take(sock, peer)
        return True
