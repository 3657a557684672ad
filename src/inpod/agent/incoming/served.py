"""Who in the pod serves a port: says so where a session is likely to wait at the wrong one."""

import contextlib
import os
import socket

from inpod.agent.incoming.redirect.base import MARK
from inpod.agent.incoming.redirect.connections import Connection, connections, own_inodes
from inpod.protocol.agent import IpProtocol

MAX_NAMED = 8
"""Ports that are named."""

_LISTENING = 1 << 10
_UNCONNECTED = 1 << 7
"""State of a UDP socket that is bound only."""


def hint(port: int, protocol: IpProtocol, target: int | None) -> str:
    """Return why a port may be the wrong one; "" when somebody of the target serves it, or nobody knows.

    Args:
        target: Descriptor of the target process's folder in /proc; None: no process is imitated, only a network.
    """
    try:
        found = _bound(protocol)
    except OSError:
        return ""
    inodes = {each.inode for each in found if each.own.port == port}
    if inodes:
        other = "" if target is None else _served_by_another(inodes, target)
        return f"in the pod {other} has it, in another container than this session's" if other else ""
    if protocol == "udp":
        return "nothing in the pod has this UDP port"
    ports = sorted({each.own.port for each in found})
    listens = f"; it listens on {', '.join(map(str, ports[:MAX_NAMED]))}" if ports else ""
    return f"nothing in the pod listens there{listens} (feature.network.incoming.port_mapping leads another port here)"


def _bound(protocol: IpProtocol) -> list[Connection]:
    """Return the sockets of others that wait for peers."""
    own = own_inodes()
    found = connections(_UNCONNECTED, protocol=socket.IPPROTO_UDP) if protocol == "udp" else connections(_LISTENING)
    return [each for each in found if each.inode not in own and each.mark != MARK]


def _served_by_another(inodes: set[int], target: int) -> str:
    """Return the name of the process that has one of the sockets, if it is in our network, and in no container of the target.

    What cannot be looked into is taken for the target's.
    """
    wanted = {f"socket:[{inode}]" for inode in inodes}
    name = ""
    try:
        files, network = os.readlink("ns/mnt", dir_fd=target), os.readlink("/proc/thread-self/ns/net")
    except OSError:
        return ""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            folder = f"/proc/{pid}"
            if os.readlink(f"{folder}/ns/net") != network or not _has(folder, wanted):
                continue
            if os.readlink(f"{folder}/ns/mnt") == files:
                return ""
            with open(f"{folder}/comm", errors="replace") as file:
                # The pod chooses it, and it is shown on the developer's terminal.
                name = "".join(filter(str.isprintable, file.read()))
    return name


def _has(folder: str, wanted: set[str]) -> bool:
    """Return whether a process has one of the sockets."""
    for fd in os.listdir(f"{folder}/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"{folder}/fd/{fd}") in wanted:
                return True
    return False
