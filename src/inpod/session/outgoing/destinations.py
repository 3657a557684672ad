"""Destinations of the outgoing filter that are names: whether an address is what one of them stands for.

The layer decides all that addresses, ports and protocols decide (native/rules `outgoing`), and asks for the rest.
"""

import asyncio
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable, Sequence

from inpod.config.outgoing import Way
from inpod.protocol.layer import NOWHERE_ELSE, Addr, Connect, encode_reply
from inpod.session.events import Events, Note
from inpod.session.outgoing.connections import close_fd

Resolve = Callable[[str], Awaitable[Sequence[str]]]


class Destinations:
    """Those of a session."""

    def __init__(self, way: Way, resolve: Resolve, events: Events) -> None:
        """Take the names out of the filter.

        Args:
            resolve: Returns the addresses of a name, as the pod has it.
            events: Hears once of each name that has none.
        """
        self._events = events
        self._told: set[str] = set()
        self._are_remote = bool(way.remote)
        self._entries = [_parsed(line) for line in (*way.remote, *way.local) if " name:" in line]
        self._resolve = resolve if way.names else _resolve_here

    async def decide(self, request: Connect, fd: int, connect: Callable[[Connect, int], bytes]) -> bytes:
        """Return the reply to a CONNECT of which the layer does not know whether it leaves from the pod.

        Args:
            fd: The program's socket, which is `connect`'s or closed.
        """
        try:
            with socket.socket(fileno=os.dup(fd)) as program:
                leaves = await self._leaves(request.to, program.type)
        except BaseException:
            close_fd(fd)
            raise
        if leaves:
            return connect(request, fd)
        close_fd(fd)
        return encode_reply(0, NOWHERE_ELSE)

    async def _leaves(self, to: Addr, kind: int) -> bool:
        wanted = {
            name
            for protocol, name, port in self._entries
            if protocol in ("*", "tcp" if kind == socket.SOCK_STREAM else "udp") and port in ("*", str(to.port))
        }
        found = await asyncio.gather(*map(self._resolve, wanted))
        for name in (name for name, texts in zip(wanted, found, strict=True) if not texts):
            self._tell(name)
        is_named = ipaddress.ip_address(to.host) in {ipaddress.ip_address(text) for texts in found for text in texts}
        return is_named == self._are_remote

    def _tell(self, name: str) -> None:
        if name in self._told:
            return
        self._told.add(name)
        where = "the pod" if self._resolve is not _resolve_here else "this machine"
        self._events.emit(
            Note(
                f"'{name}' in feature.network.outgoing.filter is nothing to {where}, so no connection goes there. "
                "A name stands for itself, not for those that end with it."
            )
        )


def _parsed(line: str) -> tuple[str, str, str]:
    protocol, place, port = line.split(" ")
    return protocol, place.removeprefix("name:"), port


async def _resolve_here(name: str) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[0]) for _, _, _, _, address in found]
