"""The controlling terminal, the process group that has it, and who is in that group (credentials(7), tcsetpgrp(3))."""

import contextlib
import os
import signal
import threading

from inpod.launch.child import is_stopped
from inpod.launch.proc import stat_fields


def open_terminal() -> int:
    """Return a descriptor of the controlling terminal, -1 without one."""
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1


def is_foreground(terminal: int, group: int) -> bool:
    """Return whether a process group has the terminal."""
    try:
        return os.tcgetpgrp(terminal) == group
    except OSError:
        return False


def set_foreground(terminal: int, group: int) -> None:
    """Give it the terminal, if that is still there."""
    # A background process that sets the foreground group is sent SIGTTOU unless it blocks it (tcsetpgrp(3)).
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    with contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, group)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def shares_group() -> bool:
    """Return whether others that we did not start are in our process group."""
    group, own = os.getpgrp(), os.getpid()
    if group != own:
        return True
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == own:
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            _, parent, its_group = stat_fields(int(name))[:3]
            if int(its_group) == group and int(parent) != own:
                return True
    return False


def stop_beside(pid: int, number: int) -> None:
    """Stop by a signal of no handler, unless the program of our group was continued since it stopped."""
    # A SIGCONT to the group takes a stop away that waits (signal(7)): from here on none can come too early to be heard.
    # To this thread: another one would take what is blocked here.
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    signal.pthread_kill(threading.get_ident(), number)
    if not is_stopped(pid):
        signal.signal(number, signal.SIG_IGN)  # which drops what waits
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
