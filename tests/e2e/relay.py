"""Listens on loopback, and passes connections on to the API server as its kinds do (`gate`, `proxy`)."""

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from tests.processes import LIMIT_S

CHUNK = 65536


class Relay(ABC):
    """Has a thread for each thing that it waits for.

    Attributes:
        port: Where it listens.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    @abstractmethod
    def take(self, client: socket.socket) -> None:
        """Do what is to be done with a connection, in the thread that accepts."""

    def begin(self) -> None:
        """Accept from now on."""
        self.start(self._accept)

    def start(self, work: Callable[..., object], *arguments: object) -> None:
        """Run `work` in a thread of its own."""
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def keep(self, *sockets: socket.socket) -> None:
        """Close them at the end."""
        self._sockets += sockets

    def cut(self) -> None:
        """End all connections of the moment."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(LIMIT_S)
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError), self._listener:
            while True:
                client, _ = self._listener.accept()
                self.take(client)
