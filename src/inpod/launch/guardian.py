"""Ends what is left when inpod is killed: a shell that waits on a pipe whose other end only inpod has.

Until all is ended nothing of it may see that inpod is gone. A trapped call of a traced program fails with ENOSYS when its
filter's listener is closed, and waits while it is open, so the guardian holds the listeners: in the queue of a socket
that it never reads.
"""

import contextlib
import os
import select
import socket
import subprocess
from pathlib import Path

_SCRIPT = """
if read -r program; then
    read -r bye && exit
    kill -s KILL -- "$program"  # of dash, -9 takes no --
    for environ in $(grep -lszxF -- "INPOD_SESSION=$1" /proc/[0-9]*/environ); do
        environ=${environ#/proc/}
        kill -9 "${environ%/environ}"
    done
fi
rm -rf -- "$1"
"""
"""Argument: the session's folder. Input: whom to kill, as for kill(1), then anything to be let go."""


class Guardian:
    """Outlives us by a moment. It is in a session of its own, so that no typed signal reaches it."""

    def __init__(self, folder: Path) -> None:
        self._giver, self._held = socket.socketpair()
        for end in (self._giver, self._held):
            end.setblocking(False)
        self._popen: subprocess.Popen[bytes] = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT, "inpod-guardian", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[self._held.fileno()],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
        )

    def watch(self, whom: int) -> None:
        """Name who is to be killed with us: a process, or minus a group."""
        self._say(f"{whom}\n")

    def holder(self) -> int:
        """Return a socket: a listener that is sent there stays open until the guardian's end. Some 200 have room."""
        alive: list[int] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                alive += socket.recv_fds(self._held, 1, 1)[1]
        for listener in alive:
            poll = select.poll()
            poll.register(listener, 0)
            # Else nobody is filtered by it any more (seccomp_unotify(2)).
            if not poll.poll(0):
                with contextlib.suppress(OSError):
                    socket.send_fds(self._giver, [b"\0"], [listener])
            os.close(listener)
        return self._giver.fileno()

    def let_go(self) -> None:
        """End the guardian without a deed. Not before the session's folder may be removed by us."""
        self._say("bye\nbye\n")
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        self._popen.wait()
        self._giver.close()
        self._held.close()

    def _say(self, line: str) -> None:
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):  # somebody killed it
            self._popen.stdin.write(line.encode())
            self._popen.stdin.flush()
