"""What became of a child (waitid(2))."""

import os


def found(pid: int, options: int) -> os.waitid_result | None:
    """Return what there is of a child; None: nothing (WNOHANG), or it was awaited by somebody else."""
    try:
        return os.waitid(os.P_PID, pid, options)
    except ChildProcessError:
        return None


def is_stopped(pid: int) -> bool:
    """Return whether a child of which a stop was seen neither was continued nor has ended since.

    /proc says of a process what its first thread does, which may have ended before the others.
    """
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WCONTINUED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
