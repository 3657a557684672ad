"""Starts the program and stands beside it: terminal, job control, signals and exit status stay exactly its own.

The program gets a process group of its own. Where inpod is in the terminal's foreground, that group is put there
instead, as a shell does: what is typed (Ctrl-C, Ctrl-Z) reaches the program, once, and not us. Signals sent to inpod are
passed on, once. When the program stops, we stop; when we are continued, so is the program (tcsetpgrp(3), credentials(7)).

When inpod is killed, the program must not stay: a guardian, a shell that waits on a pipe of ours, kills its group.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1

PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTSTP,
)

_GUARDIAN = 'read -r bye && exit; kill -9 -- "-$1"; rm -rf -- "$2"'

_prctl = ctypes.CDLL(None).prctl


class Process:
    """The running program."""

    def __init__(self, popen: "subprocess.Popen[bytes]", guardian: "subprocess.Popen[bytes]", terminal: int) -> None:
        self._popen = popen
        self._guardian = guardian
        self._terminal = terminal
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._handled: list[int] = []
        self._watch_signals()
        threading.Thread(target=self._watch, name="program", daemon=True).start()

    @property
    def pid(self) -> int:
        """The program's process id, and its group's."""
        return self._popen.pid

    async def wait(self) -> int:
        """Return the exit status, or minus the signal that ended the program."""
        return await asyncio.shield(self._status)

    async def end(self, grace_s: float = 5.0) -> None:
        """Ask the program to end, then make it."""
        self._send(signal.SIGTERM)
        self._send(signal.SIGCONT)
        try:
            async with asyncio.timeout(grace_s):
                await self.wait()
        except TimeoutError:
            self._send(signal.SIGKILL)
            await self.wait()

    def close(self) -> None:
        """Say good-bye to the guardian and take the terminal back. The program has ended."""
        for number in self._handled:
            self._loop.remove_signal_handler(number)
        self._take_terminal()
        assert self._guardian.stdin is not None
        with contextlib.suppress(OSError):
            self._guardian.stdin.write(b"bye\n")
            self._guardian.stdin.close()
        self._guardian.wait()

    def _watch_signals(self) -> None:
        for number in PASSED_ON:
            # What was ignored when we were started (nohup) stays ignored, for the program too.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._loop.add_signal_handler(number, self._send, number)
                self._handled.append(number)
        self._loop.add_signal_handler(signal.SIGCONT, self._continue)
        self._handled.append(signal.SIGCONT)

    def _watch(self) -> None:
        """Wait for the program in a thread: there is no event for a child that stops but SIGCHLD, which loops own."""
        while True:
            try:
                _, status = os.waitpid(self.pid, os.WUNTRACED)
            except ChildProcessError:
                status = 0
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
                if os.WIFSTOPPED(status):
                    self._loop.call_soon_threadsafe(self._stopped, os.WSTOPSIG(status))
                    continue
                self._loop.call_soon_threadsafe(self._ended, os.waitstatus_to_exitcode(status))
            return

    def _ended(self, status: int) -> None:
        self._popen.returncode = status
        if not self._status.done():
            self._status.set_result(status)

    def _stopped(self, number: int) -> None:
        """The program stopped: so do we, and our job in the shell."""
        if self._terminal < 0:
            return
        self._take_terminal()
        self._loop.remove_signal_handler(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.killpg(os.getpgrp(), signal.SIGTSTP if number != signal.SIGSTOP else signal.SIGSTOP)
        # Continued: SIGCONT's handler does the rest.
        if signal.SIGTSTP in self._handled:
            self._loop.add_signal_handler(signal.SIGTSTP, self._send, signal.SIGTSTP)

    def _continue(self) -> None:
        if self._terminal >= 0 and _is_foreground(self._terminal, os.getpgrp()):
            _set_foreground(self._terminal, self.pid)
        self._send(signal.SIGCONT)

    def _take_terminal(self) -> None:
        if self._terminal >= 0 and _is_foreground(self._terminal, self.pid):
            _set_foreground(self._terminal, os.getpgrp())

    def _send(self, number: int) -> None:
        if not self._status.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


def start(executable: str, argv: Sequence[str], environment: Mapping[str, str], folder: Path) -> Process:
    """Start the program.

    Args:
        folder: The session's folder: the guardian removes it when we are killed.

    Raises:
        OSError: It cannot be executed.
    """
    terminal = _terminal()
    in_foreground = terminal >= 0 and _is_foreground(terminal, os.getpgrp())
    own = os.getpid()

    def in_child() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(1)
        if in_foreground:
            _set_foreground(terminal, os.getpid())

    popen: subprocess.Popen[bytes] = subprocess.Popen(
        list(argv),
        executable=executable,
        env=dict(environment),
        process_group=0,
        preexec_fn=in_child,  # noqa: PLW1509 # before any thread of ours
    )
    guardian: subprocess.Popen[bytes] = subprocess.Popen(
        ["/bin/sh", "-c", _GUARDIAN, "inpod-guardian", str(popen.pid), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": "/usr/bin:/bin"},
        cwd="/",
    )
    return Process(popen, guardian, terminal)


def end_like(status: int) -> int:
    """Return an exit status; for a program that died by a signal, die by the same one."""
    if status >= 0:
        return status
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # SIGKILL's disposition cannot be set
        signal.signal(-status, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {-status})
    os.kill(os.getpid(), -status)
    return 128 - status


def _terminal() -> int:
    """Return a descriptor of the controlling terminal, -1 without one."""
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1


def _is_foreground(terminal: int, group: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == group
    except OSError:
        return False


def _set_foreground(terminal: int, group: int) -> None:
    # A background process that sets the foreground group is sent SIGTTOU unless it blocks it (tcsetpgrp(3)).
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    with contextlib.suppress(OSError):
        os.tcsetpgrp(terminal, group)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
