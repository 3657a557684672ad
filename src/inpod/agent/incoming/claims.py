"""Which session steals a port, when several agents stand beside one target.

The kernel would give the connections to whoever attached first, and the others would wait in vain. So each agent claims
the port by a name in the abstract namespace of unix sockets, which belongs to the network namespace (unix(7)): a name
can be bound once, and is free again when its socket closes.
"""

import errno
import socket


class Claims:
    """The ports that this agent claims."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def claim(self, port: int) -> bool:
        """Claim `port`; return False when another agent holds it."""
        if port in self._held:
            return True
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            sock.bind(f"\0inpod/steal/{port}")
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                return False
            raise
        self._held[port] = sock
        return True

    def release(self, port: int) -> None:
        """Let others claim `port`."""
        if (sock := self._held.pop(port, None)) is not None:
            sock.close()

    def close(self) -> None:
        """Release all."""
        for port in list(self._held):
            self.release(port)
