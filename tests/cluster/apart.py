"""A network of its own, in which a command reaches the nodes as this machine does: no port there is anybody else's.

Programs that stand in pods listen where they run. Without it, whoever has such a port on this machine fails the tests.
"""

import fcntl
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tests.cluster import state
from tests.cluster.state import STATE

ADDRESSES = range(100, 250)
"""Last bytes, for those that are there at a time; the nodes and this machine have others (vars.sh)."""

SETUP = """
ip -n "$1" link delete "$0" 2>/dev/null || true
ip link set lo up
ip link add eth0 type veth peer name "$0" netns "$1"
ip -n "$1" link set "$0" master eth0 up
ip addr add "$2" dev eth0
ip link set eth0 up
shift 2
exec "$@"
"""
"""What an earlier one has left goes first: the address is ours."""


def run(command: Sequence[str]) -> NoReturn:
    """Become the command, in the cluster's network and in none else; it ends with the last process of it."""
    made_for = state.made_for()
    if not made_for:
        sys.exit("python -m tests.cluster: there is no cluster: start it with 'up'")
    number = _take()
    words = [f"apart{number}", f"{made_for['NS']}-node1", f"{made_for['NET']}.{number}/24", *command]
    os.execvp("unshare", ["unshare", "--net", "sh", "-ec", SETUP, *words])


def _take() -> int:
    """Return an address that nobody has, for as long as this process lives, whatever it becomes."""
    for number in ADDRESSES:
        fd = os.open(STATE / f"apart-{number}", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        os.set_inheritable(fd, True)
        return number
    sys.exit("python -m tests.cluster: all addresses are taken")
