"""Which agent steals a port, when several stand beside one target, and how the others find it.

The kernel would give the connections to whoever attached first. So each agent claims a port by listening on a name in
the abstract namespace of unix sockets, which belongs to the network namespace (unix(7)): a name can be bound once, and
is free again when its socket closes. Who comes second connects to it, and asks for a share (`sharing`).
"""

import errno
import os
import socket
import struct

from inpod.protocol.agent import IpProtocol

MAX_WAITING = 16

_CREDENTIALS = struct.Struct("=iII")


def claim(port: int, protocol: IpProtocol = "tcp") -> socket.socket | None:
    """Return a non-blocking listener for those who come later, or None when another agent has the port.

    Raises:
        OSError: As bind(2).
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind(_name(port, protocol))
        sock.listen(MAX_WAITING)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return sock


def reach(port: int, protocol: IpProtocol = "tcp") -> socket.socket | None:
    """Return a non-blocking connection to the agent that has the port; None when there is none.

    Raises:
        BlockingIOError: That agent is stopped, and as many as may wait for it do.
        PermissionError: Whoever has it is no agent that we may trust.
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
    if not is_trusted(sock):
        sock.close()
        raise PermissionError(errno.EACCES, f"something that is no agent holds the name for port {port} of this pod")
    return sock


def is_trusted(sock: socket.socket) -> bool:
    """Return whether the other end of a unix socket is an agent as we are.

    The target's own processes share our network namespace, and thus these names. They are told apart by their user, or
    by their pid namespace, in which ours is not.
    """
    pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid != os.geteuid() or pid == 0:
        return False
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino == os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return False


def _name(port: int, protocol: IpProtocol) -> str:
    return f"\0inpod/steal/{protocol}/{port}"
