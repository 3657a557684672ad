"""The connections between the program's sockets and the pod, and what is still on its way when the program ends."""

import asyncio
import select
import socket
from collections.abc import Callable

from inpod.tunnel.messages import join_messages
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.relay import join
from inpod.tunnel.streams import Stream

GRACE_S = 0.05
"""How long the end of a socket may take to be seen: the kernel of a busy machine tells it a moment after the program's."""

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

    async def finish(self) -> None:
        """Wait until what the program said before it closed its sockets is on its way to the agent.

        Sockets that are open, as a process that the program left behind has them, are not waited for.
        """
        saying = {asyncio.ensure_future(stream.said_all()): sock for stream, sock in self._running.items()}
        if not saying:
            return
        try:
            _, left = await asyncio.wait(saying, timeout=GRACE_S)
            if ended := [task for task in left if _is_closed(saying[task])]:
                await asyncio.wait(ended)
        finally:
            for task in saying:
                task.cancel()


def _is_closed(sock: socket.socket) -> bool:
    """Return whether the far end of a connection has said its last."""
    if sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return any(events & _CLOSED for _, events in poll.poll(0))
