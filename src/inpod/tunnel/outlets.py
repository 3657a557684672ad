"""The connections by which bytes leave this process, to know at its end whether they have arrived."""

import asyncio
import fcntl
import struct
from collections.abc import Callable
from typing import Any, Protocol

LOOK_EVERY_S = 0.002
"""No event tells that all is acknowledged. What takes longer is looked at less and less often."""

LOOK_AT_LEAST_EVERY_S = 0.05

STILL_LOOKS = 200
"""So many looks at which a far end has taken nothing, about 10 s, and it is taken for one that does not read."""

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


async def arrived(on_look: Callable[[], object] = lambda: None) -> bool:
    """Wait until the far ends have what was written until now. What comes meanwhile is not waited for.

    Args:
        on_look: Called now and then while there is something to wait for.

    Returns:
        Whether all have it. One that takes nothing for `STILL_LOOKS` looks is waited for no more.
    """
    # The least that each had unsent, and for how many looks. What it is given meanwhile can only make it more.
    waiting = {transport: (unsent, 0) for transport in _open if (unsent := unsent_bytes(transport))}
    have_all, pause_s = True, LOOK_EVERY_S
    while waiting:
        await asyncio.sleep(pause_s)
        on_look()
        pause_s = min(2 * pause_s, LOOK_AT_LEAST_EVERY_S)
        for transport, (least, looks) in list(waiting.items()):
            unsent = unsent_bytes(transport) if transport in _open else 0
            if not unsent:
                del waiting[transport]
            elif unsent < least:
                waiting[transport] = unsent, 0
            elif looks + 1 < STILL_LOOKS:
                waiting[transport] = least, looks + 1
            else:
                have_all = False
                del waiting[transport]
    return have_all


def unsent_bytes(transport: Outlet) -> int:
    """Return how much a far end does not have; 0 of one that is closed."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return 0
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), SIOCOUTQ, bytes(4)))
    except (OSError, ValueError):
        return 0
    return int(count) + transport.get_write_buffer_size()
