"""Which agent steals a port, when several stand beside one target, and how the others find it.

The kernel would give the connections to whoever attached first. So each agent claims a port by listening on a name in
the abstract namespace of unix sockets, which belongs to the network namespace (unix(7)): a name can be bound once, and
is free again when its socket closes. Who comes second connects to it, and asks for a share (`sharing`).
"""

import errno
import socket

from inpod.agent.incoming.proofs import Prover, Role
from inpod.protocol.agent import IpProtocol

MAX_WAITING = 16


class Claim:
    """A role that is this agent's.

    Attributes:
        listener: Where those connect who come later, once it listens; non-blocking.
        prover: Tells the agents among them.
    """

    def __init__(self, listener: socket.socket, prover: Prover) -> None:
        self.listener = listener
        self.prover = prover

    def listen(self) -> None:
        """Let them come; before this nobody reaches it."""
        self.listener.listen(MAX_WAITING)

    def close(self) -> None:
        """Free the role."""
        self.listener.close()
        self.prover.close()


def claim(port: int, protocol: IpProtocol, role: Role) -> Claim | None:
    """Return a claim, or None when another agent has that role.

    Raises:
        OSError: As bind(2).
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(_name(port, protocol, role))
        prover = Prover(port, protocol, role)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return Claim(sock, prover)


def is_claimed(port: int, protocol: IpProtocol, role: Role) -> bool:
    """Return whether an agent has a role, this one included.

    Raises:
        OSError: Nobody knows: no descriptor is left to find out by.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.bind(_name(port, protocol, role))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def reach(port: int, protocol: IpProtocol, role: Role) -> socket.socket | None:
    """Return a non-blocking connection to whoever has a role and listens, still to be proven an agent; None when there is none.

    Raises:
        BlockingIOError: That agent is stopped, and as many as may wait for it do.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(_name(port, protocol, role))
    except BlockingIOError:
        sock.close()
        raise
    except OSError:
        sock.close()
        return None
    return sock


def _name(port: int, protocol: IpProtocol, role: Role) -> str:
    return f"\0inpod/{role}/{protocol}/{port}"
