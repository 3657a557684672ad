"""Ends connections that the original accepted before a steal, so that their clients come again and meet us."""

import errno
from collections.abc import Collection

from inpod.agent.incoming.redirect.base import MARK
from inpod.agent.incoming.redirect.connections import (
    BEGINNING,
    ESTABLISHED,
    OPEN,
    Connection,
    connections,
    destroy,
    own_inodes,
)

MAX_ROUNDS = 3
"""Who was between SYN and accept when we looked is found by looking again."""


def flush(port: int, addresses: Collection[str] | None = None) -> int:
    """Reset the established connections to the original's `port`; return how many.

    Those that an agent accepted, and those that it made to the original itself, stay.

    Args:
        addresses: The pod's addresses, where it shares the node's network namespace; None: all.

    Raises:
        OSError: Not possible; `strerror` says why.
    """
    ended = 0
    try:
        for _ in range(MAX_ROUNDS):
            if not (found := originals(port, addresses)):
                break
            ended += destroy(found)
    except OSError as error:
        raise OSError(error.errno, explain(error)) from error
    return ended


def originals(port: int, addresses: Collection[str] | None = None) -> list[Connection]:
    """Return the original's ends of connections to `port`, without those that are an agent's or come from one.

    Args:
        addresses: As of `flush`.

    Raises:
        OSError: The kernel does not tell.
    """
    # First what there is, then what of it is ours: what we make in between is only in the second.
    there = connections(ESTABLISHED | BEGINNING, own_port=port)
    inodes = own_inodes()
    ours = {
        (connection.own, connection.peer)
        for connection in connections(OPEN, peer_port=port)
        if connection.inode in inodes or connection.mark == MARK
    }
    return [
        connection
        for connection in there
        if connection.inode not in inodes
        and connection.mark != MARK
        and (connection.peer, connection.own) not in ours
        and (addresses is None or connection.own.ip in addresses)
    ]


def explain(error: OSError) -> str:
    """Return in words why connections cannot be ended."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return "existing connections cannot be moved: the agent lacks CAP_NET_ADMIN"
    if error.errno == errno.EOPNOTSUPP:
        return "existing connections cannot be moved: the kernel was built without INET_DIAG_DESTROY"
    return f"existing connections cannot be moved: {error.strerror}"
