"""The connections by which bytes leave this process, to know at its end whether they have arrived."""

import asyncio
import fcntl
import struct
from typing import Any, Protocol

LOOK_EVERY_S = 0.002
"""No event tells that all is acknowledged."""

SIOCOUTQ = 0x5411
"""Bytes, a FIN counted, that the far end has not acknowledged (tcp(7)); of a unix socket: not read."""


class Outlet(Protocol):
    """What is asked of a connection, as asyncio's transports have it."""

    def get_write_buffer_size(self) -> int:
        """Return how many bytes wait here."""

    def get_extra_info(self, name: str) -> Any:  # noqa: ANN401  # as asyncio has it
        """Return, for "socket", its socket."""


_open: set[Outlet] = set()


def add(transport: Outlet) -> None:
    """Know a connection."""
    _open.add(transport)


def remove(transport: Outlet | None) -> None:
    """Forget it: it is closed."""
    if transport is not None:
        _open.discard(transport)


async def arrived() -> None:
    """Wait until the far ends have what was written until now. What comes meanwhile is not waited for."""
    waiting = [transport for transport in _open if _has_unsent(transport)]
    while waiting:
        await asyncio.sleep(LOOK_EVERY_S)
        waiting = [transport for transport in waiting if transport in _open and _has_unsent(transport)]


def _has_unsent(transport: Outlet) -> bool:
    if transport.get_write_buffer_size():
        return True
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(transport.get_extra_info("socket").fileno(), SIOCOUTQ, bytes(4)))
    except (OSError, ValueError):
        return False  # it is closed
    return bool(count)
