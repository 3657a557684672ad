"""The loopback ports from which the session connects to the program: the table tells whose connection comes from there."""

import asyncio
import errno
import os
import socket

from inpod.protocol.layer import Addr
from inpod.session.table import Table
from inpod.tunnel.local_ports import ATTEMPTS, LocalPorts

FORGET_AFTER_S = 2.0
"""How long the table keeps a connection that ended: the program may accept it only now."""


class Sources:
    """All that are in use."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._turn = LocalPorts()
        self._in_use: set[int] = set()
        self._forgetting: dict[int, asyncio.TimerHandle] = {}
        self._is_closed = False

    def close(self) -> None:
        """Forget no more: the table goes, too."""
        self._is_closed = True
        for timer in self._forgetting.values():
            timer.cancel()

    def connect(self, to: tuple[str, int], *, peer: Addr, local: Addr) -> tuple[socket.socket, int, int]:
        """Begin a connection to the program, of `peer` to `local`.

        Its port no other has, of either version of IP.

        Returns:
            The socket, its port, and what connect(2) says, 0 or an errno.

        Raises:
            OSError: No port is to be had.
        """
        family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
        code = errno.EADDRNOTAVAIL
        for _ in range(ATTEMPTS):
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            try:
                source = self._turn.name(sock, self._in_use.__contains__)
                sock.bind((to[0], source))
            except OSError as error:
                sock.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            self._in_use.add(source)
            if (timer := self._forgetting.pop(source, None)) is not None:
                timer.cancel()
            self._table.set_port(source, peer=peer, local=local)
            code = sock.connect_ex(to)
            if code != errno.EADDRNOTAVAIL:
                return sock, source, code
            # The last connection from there to the program ended just now.
            sock.close()
            self.ended(source)
        raise OSError(code, os.strerror(code))

    def ended(self, source: int) -> None:
        """Forget a connection, after a while."""

        def forget() -> None:
            self._forgetting.pop(source, None)
            self._table.clear_port(source)

        self._in_use.discard(source)
        if self._is_closed:
            return
        self._forgetting[source] = asyncio.get_running_loop().call_later(FORGET_AFTER_S, forget)
