"""How `inpod status`, another process, has a session look again at what it knows: by a unix socket in the session's folder.

Nothing is said on it: who connects waits for the end, and then reads the session's file (`status`).
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path

from inpod.session.tasks import Tasks
from inpod.tunnel.acceptor import Acceptor

NAME = "asked.sock"

LIMIT_S = 5.0
"""Longest that who asks waits: an answer of the API server, and a packet that does not arrive."""


class Asked:
    """Listens until closed.

    Args:
        look: Called for each who asks.
    """

    def __init__(self, folder: Path, look: Callable[[], Coroutine[None, None, None]], tasks: Tasks) -> None:
        self._look = look
        self._tasks = tasks
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / NAME))
        self._listener.listen()
        self._listener.setblocking(False)
        self._acceptor = Acceptor([self._listener], self._take)

    def close(self) -> None:
        """Stop."""
        self._acceptor.close()
        self._listener.close()

    def _take(self, sock: socket.socket, _: object) -> None:
        self._tasks.spawn(self._answer(sock))

    async def _answer(self, sock: socket.socket) -> None:
        with sock:
            await self._look()


def ask(folders: Iterable[Path]) -> None:
    """Have the sessions of these folders look again, all at once; one that does not answer in time is as it was."""
    with selectors.DefaultSelector() as waiting, contextlib.ExitStack() as undo:
        for folder in folders:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX))
            sock.setblocking(False)
            with contextlib.suppress(OSError):  # it has nothing to look at, or ends
                sock.connect(str(folder / NAME))
                waiting.register(sock, selectors.EVENT_READ)
        until = time.monotonic() + LIMIT_S
        while waiting.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                waiting.unregister(key.fileobj)
