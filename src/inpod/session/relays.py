"""The connections between the program's sockets and the pod, and what is still on its way when the program ends."""

import asyncio
import select
import socket
from collections.abc import Callable

from inpod.session.kernel_sockets import Ends, place_of, tcp_sockets
from inpod.tunnel.messages import join_messages
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.relay import join
from inpod.tunnel.streams import Stream

GRACE_S = 0.05
"""How long the end of a socket may take to be seen: the kernel of a busy machine tells it a moment after the program's."""

LOOK_EVERY_S = 1.0
STILL_LOOKS = 10
"""So many looks at which nothing has moved, and the far ends are taken for such that do not read."""

CLOSING = (4, 9, 11)
"""FIN_WAIT1, LAST_ACK and CLOSING: a socket that was closed, with its last bytes still on their way (linux/tcp_states.h)."""

_CLOSED = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Relays:
    """All that run."""

    def __init__(self) -> None:
        self._running: dict[Stream, socket.socket] = {}
        self._readiness = Readiness()

    def join(self, stream: Stream, sock: socket.socket, on_end: Callable[[], None] = lambda: None) -> None:
        """As `inpod.tunnel.relay.join`, or `join_messages` where the socket has those."""

        def end() -> None:
            del self._running[stream]
            on_end()

        self._running[stream] = sock
        if sock.type == socket.SOCK_SEQPACKET:
            join_messages(stream, sock, end, self._readiness)
        else:
            join(stream, sock, end)

    async def finish(self) -> bool:
        """Wait until what the program said before it closed its sockets is on its way to the agent; return whether all is.

        What does not move for `STILL_LOOKS` looks is given up. Sockets that are open, as a process that the program left
        behind has them, are not waited for.
        """
        running = dict(self._running)
        saying = {asyncio.ensure_future(stream.said_all()): stream for stream in running}
        if not saying:
            return True
        try:
            _, left = await asyncio.wait(saying, timeout=GRACE_S)
            closed = _closed({running[saying[task]] for task in left})
            return await _said({task: saying[task] for task in left if running[saying[task]] in closed})
        finally:
            for task in saying:
                task.cancel()


async def _said(saying: dict["asyncio.Future[None]", Stream]) -> bool:
    """Wait until all streams have said all, and reset those that do not get on; return whether there are none."""
    still = 0
    while saying:
        before = {stream: stream.next_piece for stream in saying.values()}
        _, left = await asyncio.wait(saying, timeout=LOOK_EVERY_S)
        # All of them share one link: none is slower than the link, as long as one gets on.
        gets_on = len(left) < len(saying) or any(stream.next_piece is not piece for stream, piece in before.items())
        saying = {task: saying[task] for task in left}
        still = 0 if gets_on else still + 1
        if still == STILL_LOOKS:
            for stream in saying.values():
                stream.refuse()
            return False
    return True


def _closed(socks: set[socket.socket]) -> set[socket.socket]:
    """Return the connections of which the far end, on this machine, has said its last."""
    found = {sock for sock in socks if _has_ended(sock)}
    # By TCP, the end may wait behind bytes for which we have no room yet.
    if rest := {sock: ends for sock in socks - found if (ends := _ends(sock)) is not None}:
        closing = tcp_sockets(CLOSING)
        found |= {sock for sock, ends in rest.items() if Ends(ends.peer, ends.own) in closing}
    return found


def _has_ended(sock: socket.socket) -> bool:
    """Return whether the end of the far end is here."""
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return any(events & _CLOSED for _, events in poll.poll(0))


def _ends(sock: socket.socket) -> Ends | None:
    """Return where a connection stands; None: it has no TCP, or is gone."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        return Ends(place_of(sock.getsockname()), place_of(sock.getpeername()))
    except OSError:
        return None
