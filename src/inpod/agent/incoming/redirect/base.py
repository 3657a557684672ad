"""What a way to divert new connections must offer."""

import socket
from collections.abc import Callable
from typing import Protocol

from inpod.protocol.agent import Address


class Redirect(Protocol):
    """Diverts new TCP connections of ports in this network namespace to listeners of its own.

    Nothing it sets up outlives its descriptors: when the process dies, the original serves again. It diverts only while
    it is told, by `beat`, that somebody is there to serve.

    Attributes:
        name: For messages.
    """

    name: str

    def steal(self, port: int) -> list[socket.socket]:
        """Divert `port`; return the non-blocking listeners, one for each IP version, owned by the redirect.

        Raises:
            OSError: Not possible; `strerror` says why.
        """

    def release(self, port: int) -> None:
        """Give `port` back to the original and close its listeners, and with them the connections that wait there."""

    def pause(self, port: int) -> None:
        """Let the connections of a stolen port go to the original; its listeners stay."""

    def resume(self, port: int) -> None:
        """Divert a paused port again."""

    def called(self, sock: socket.socket) -> Address:
        """Return the address that the client of a diverted connection called.

        Raises:
            OSError: The client is gone, or called the listener itself.
        """

    def exempt(self, sock: socket.socket) -> Callable[[], None]:
        """Let the connection that `sock` will make reach the original; return what ends that. Also when it is closed.

        Call it between bind and connect, and what it returns when the socket is closed: see `original`.

        Raises:
            OSError: There are too many.
        """

    def beat(self, now_ns: int | None = None) -> None:
        """Divert for the next `STALE_AFTER_S`, however this process fares.

        Args:
            now_ns: When it was found out that this may be (CLOCK_MONOTONIC); None: just now.
        """

    def rest(self) -> None:
        """Divert nothing until the next beat."""

    def close(self) -> None:
        """Give every port back. Accepted connections go on."""


STALE_AFTER_S = 2.0
"""A redirect whose last beat is older lets connections go to the original."""

MARK = 0x2D
"""Socket mark (SO_MARK) of stolen connections and of those to the original: all agents know each other's by it.

No bit that Kubernetes or a known network plugin uses.
"""

SILENT_CLIENT_S = 60
PROBE_EVERY_S = 15
PROBES = 4
"""A client that was silent for so long is asked for a sign of life, so often: one whose machine is gone says nothing any more."""


def watch_clients(listener: socket.socket) -> None:
    """Have the kernel end connections whose client is gone without a word (tcp(7), SO_KEEPALIVE); what is accepted inherits it.

    Original and program may ask for that themselves, but their connections are to us, and we always answer.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENT_CLIENT_S)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_EVERY_S)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, PROBES)
