"""What a way to divert new connections must offer."""

import socket
from typing import Protocol


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

    def beat(self) -> None:
        """Divert for the next `STALE_AFTER_S`, however this process fares."""

    def rest(self) -> None:
        """Divert nothing until the next beat."""

    def close(self) -> None:
        """Give every port back."""


STALE_AFTER_S = 2.0
"""A redirect whose last beat is older lets connections go to the original."""
