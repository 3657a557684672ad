"""Which agent steals a port, when several stand beside one target, and how the others find it.

The kernel would give the connections to whoever attached first. So each agent claims a port by listening on a name in
the abstract namespace of unix sockets, which belongs to the network namespace (unix(7)): a name can be bound once, and
is free again when its socket closes. Who comes second connects to it, and asks for a share (`sharing`).
"""

import errno
import socket

from inpod.agent.incoming.proofs import Prover
from inpod.protocol.agent import IpProtocol

MAX_WAITING = 16


class Claim:
    """A port that is this agent's.

    Attributes:
        listener: Where those connect who come later; non-blocking.
        prover: Tells the agents among them.
    """

    def __init__(self, listener: socket.socket, prover: Prover) -> None:
        self.listener = listener
        self.prover = prover

    def close(self) -> None:
        """Free the port."""
        self.listener.close()
        self.prover.close()


def claim(port: int, protocol: IpProtocol = "tcp") -> Claim | None:
    """Return a claim, or None when another agent has the port.

    Raises:
        OSError: As bind(2).
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(_name(port, protocol))
        prover = Prover(port, protocol)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    # Last: who connects finds the prover.
    sock.listen(MAX_WAITING)
    return Claim(sock, prover)


def reach(port: int, protocol: IpProtocol = "tcp") -> socket.socket | None:
    """Return a non-blocking connection to whoever has the port, still to be proven an agent; None when there is none.

    Raises:
        BlockingIOError: That agent is stopped, and as many as may wait for it do.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(_name(port, protocol))
    except BlockingIOError:
        sock.close()
        raise
    except OSError:
        sock.close()
        return None
    return sock


def _name(port: int, protocol: IpProtocol) -> str:
    return f"\0inpod/steal/{protocol}/{port}"
