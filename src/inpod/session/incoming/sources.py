"""The loopback ports from which the session connects to the program: the table tells whose connection comes from there."""

import asyncio
import errno
import os
import socket

from inpod.protocol.layer import Addr
from inpod.session.table import Table

FORGET_AFTER_S = 2.0
"""How long the table keeps a connection that ended: the program may accept it only now."""

ATTEMPTS = 64
"""Ports that are tried: one that the other version of IP has is of no use."""


class Sources:
    """All that are in use."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._in_use: set[int] = set()
        self._forgetting: dict[int, asyncio.TimerHandle] = {}
        self._is_closed = False

    def close(self) -> None:
        """Forget no more: the table goes, too."""
        self._is_closed = True
        for timer in self._forgetting.values():
            timer.cancel()

    def bind(self, host: str, *, peer: Addr, local: Addr) -> tuple[socket.socket, int]:
        """Return a socket for a connection of `peer` to `local`, and its port, which no other has, of either version of IP.

        Raises:
            OSError: There is none to be had.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for _ in range(ATTEMPTS):
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                sock.bind((host, 0))
            except OSError:
                sock.close()
                raise
            source: int = sock.getsockname()[1]
            if source not in self._in_use:
                break
            sock.close()
        else:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        self._in_use.add(source)
        if (timer := self._forgetting.pop(source, None)) is not None:
            timer.cancel()
        self._table.set_port(source, peer=peer, local=local)
        return sock, source

    def ended(self, source: int) -> None:
        """Forget a connection, after a while."""

        def forget() -> None:
            self._forgetting.pop(source, None)
            self._table.clear_port(source)

        self._in_use.discard(source)
        if self._is_closed:
            return
        self._forgetting[source] = asyncio.get_running_loop().call_later(FORGET_AFTER_S, forget)
