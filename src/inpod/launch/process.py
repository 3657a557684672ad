"""Starts the program and stands beside it: terminal, job control, signals and exit status stay exactly its own.

Who gets what, by where inpod stands (credentials(7), tcsetpgrp(3)):

    alone in its group      The program has a group of its own, which is the terminal's foreground where inpod's was, as a
                            shell does it: what is typed (Ctrl-C, Ctrl-Z) reaches the program, once, and not us. Signals
                            sent to inpod are passed on to the program itself, once: a server with workers tells them
                            what they are to do. If it dies of one, the rest of its group gets it. When the program
                            stops, so do we, and so our job in the shell; continued, we continue it.
    in the foreground       In a pipeline or a script the terminal belongs to others too (`inpod … | less`), so the
    with others             program stays in that group. What is typed reaches all of them, so we pass on only what is
                            usually sent to one process.

When inpod is killed, the program must not stay: a guardian, a shell that waits on a pipe of ours, kills it and its group,
and what else belongs to the session.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from inpod.launch.child import found, is_stopped
from inpod.launch.guardian import Guardian
from inpod.launch.terminal import is_foreground, open_terminal, set_foreground, shares_group, stop_beside

PR_SET_PDEATHSIG = 1

TO_ONE = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that are usually sent to one process."""

TYPED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP)
"""Signals that a terminal sends to its whole foreground group (termios(3))."""

TRAPPED_S = 0.001

_prctl = ctypes.CDLL(None).prctl
"""Looked up here: between fork and exec nothing is loaded."""


class Process:
    """The running program.

    Attributes:
        ignored: Signals that were ignored when we were started: passed on, and ignored by the program from its start.
    """

    def __init__(self, terminal: int, *, joins: bool) -> None:
        """Take the signals before there is a program: what comes while it starts is for it, and handled once it is there.

        Args:
            terminal: Descriptor of the controlling terminal; -1 without one.
            joins: Whether the program stays in our group.
        """
        self._popen: subprocess.Popen[bytes] | None = None
        self._terminal = terminal
        self._joins = joins
        self._loop = asyncio.get_running_loop()
        self._status: asyncio.Future[int] = self._loop.create_future()
        self._handled: list[int] = []
        self._passed_on: set[int] = set()
        self.ignored = tuple(
            number
            for number in (*TO_ONE, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD)
            if signal.getsignal(number) is signal.SIG_IGN and not (joins and number in TYPED)
        )
        self._ttou_before = signal.getsignal(signal.SIGTTOU)
        self._watch_signals()

    def take(self, popen: "subprocess.Popen[bytes]") -> None:
        """Stand beside a program that has started."""
        self._popen = popen
        threading.Thread(target=self._watch, name="program", daemon=True).start()

    @property
    def pid(self) -> int:
        """The program's process id."""
        assert self._popen is not None
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
        """Take the terminal back. The program has ended, or has not started."""
        for number in self._handled:
            self._loop.remove_signal_handler(number)
        self._handled.clear()
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)
        if self._terminal >= 0:
            if self._popen is not None:
                self._take_terminal()
            signal.signal(signal.SIGTTOU, self._ttou_before)
            os.close(self._terminal)
            self._terminal = -1

    def _watch_signals(self) -> None:
        if signal.SIGCHLD in self.ignored:
            # Else nobody is told how a child has ended (wait(2)).
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (*TO_ONE, *TYPED) if self._joins else (*TO_ONE, *TYPED, signal.SIGCONT):
            self._handle(number)
        if self._terminal >= 0:
            # We are in the terminal's background: with `stty tostop` each line of ours would stop us.
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def _handle(self, number: int) -> None:
        # What was ignored when we were started (nohup, `&` in a script) the program ignores until it says otherwise.
        if signal.getsignal(number) is signal.SIG_IGN and number not in self.ignored:
            return
        if number == signal.SIGCONT:
            self._loop.add_signal_handler(number, self._resume)
        elif self._joins and number in TYPED:
            # Ours only by being in the group; the program's own answer decides.
            self._loop.add_signal_handler(number, lambda: None)
        elif number == signal.SIGTSTP:
            self._loop.add_signal_handler(number, self._send, number)
        else:
            self._loop.add_signal_handler(number, self._pass_on, number)
        self._handled.append(number)

    def _watch(self) -> None:
        """Wait for the program in a thread: there is no event for a child that stops but SIGCHLD, which loops own."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know
            while (now := found(self.pid, os.WEXITED | os.WSTOPPED | os.WNOWAIT)) is not None:
                if now.si_code == os.CLD_TRAPPED:
                    # The tracer, a thread of ours, has it stopped for a moment: that stop is not ours to take.
                    time.sleep(TRAPPED_S)
                    continue
                if now.si_code != os.CLD_STOPPED:
                    break
                # It may have been continued: then the next stop, which may be the tracer's, is not waited for here.
                if stopped := found(self.pid, os.WSTOPPED | os.WNOHANG):
                    self._loop.call_soon_threadsafe(self._stopped, stopped.si_status)
            self._loop.call_soon_threadsafe(self._ended)

    def _ended(self) -> None:
        """Take the exit status. Not in the thread: until here the program is a zombie, so that a signal hits nobody else."""
        assert self._popen is not None
        end = found(self.pid, os.WEXITED | os.WNOWAIT)
        if end is not None and end.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
            self._tell_rest(end.si_status)
        self._popen.wait()
        if not self._status.done():
            self._status.set_result(self._popen.returncode)

    def _tell_rest(self, number: int) -> None:
        """Pass a signal on that the program has died of: it told nobody, as a script does not that waits for its command."""
        if number in self._passed_on and not self._joins:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _stopped(self, number: int) -> None:
        """The program stopped: so do we, where there is a shell with job control to see it."""
        if self._terminal < 0 or not is_stopped(self.pid):
            return
        in_background = number in (signal.SIGTTIN, signal.SIGTTOU)
        if in_background and not self._joins and is_foreground(self._terminal, os.getpgrp()):
            # A shell brought our job, which ran in the background, to the foreground: it does not signal that.
            self._resume()
            return
        self._take_terminal()
        if self._joins and number == signal.SIGSTOP:
            number = signal.SIGTSTP  # which can be called back
        with_handlers = [n for n in (signal.SIGCONT, number) if n in self._handled]
        for handled in with_handlers:
            self._loop.remove_signal_handler(handled)
            self._handled.remove(handled)
        before = signal.getsignal(number)
        if number != signal.SIGSTOP:
            signal.signal(number, signal.SIG_DFL)
        if self._joins:
            stop_beside(self.pid, number)
        else:
            os.killpg(os.getpgrp(), number)
        # Here we are continued. Or the kernel did not stop us, as there is no shell that could continue us
        # (an orphaned group, setpgid(2)): then it would not have stopped the program either.
        if number != signal.SIGSTOP and number not in with_handlers:
            signal.signal(number, before)
        for handled in with_handlers:
            self._handle(handled)
        if not self._joins:  # else what continued us continued the program
            self._resume()

    def _resume(self) -> None:
        if self._terminal >= 0 and is_foreground(self._terminal, os.getpgrp()):
            set_foreground(self._terminal, self.pid)
        self._send(signal.SIGCONT)

    def _take_terminal(self) -> None:
        if not self._joins and is_foreground(self._terminal, self.pid):
            set_foreground(self._terminal, os.getpgrp())

    def _pass_on(self, number: int) -> None:
        self._passed_on.add(number)
        self._kill(os.kill, number)

    def _send(self, number: int) -> None:
        self._kill(os.kill if self._joins else os.killpg, number)

    def _kill(self, kill: Callable[[int, int], None], number: int) -> None:
        if not self._status.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, number)


def start(
    executable: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    guardian: Guardian,
    *,
    descriptor_limit: tuple[int, int] | None = None,
) -> Process:
    """Start the program. Working directory, umask, limits and open descriptors are those that inpod was given.

    Args:
        guardian: Ends the program when we are killed.
        descriptor_limit: RLIMIT_NOFILE as it was before the session raised its own.

    Raises:
        OSError: It cannot be executed.
    """
    terminal = open_terminal()
    in_foreground = terminal >= 0 and is_foreground(terminal, os.getpgrp())
    joins = in_foreground and shares_group()
    own = os.getpid()
    ttou = signal.getsignal(signal.SIGTTOU)
    process = Process(terminal, joins=joins)

    def in_child() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(1)
        # Here, where the group is made already and nothing of the program has run: we may be killed at any moment.
        guardian.watch(os.getpid() if joins else -os.getpid())
        if in_foreground and not joins:
            set_foreground(terminal, os.getpid())
        if ttou == signal.SIG_DFL:
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        for number in process.ignored:
            signal.signal(number, signal.SIG_IGN)
        if descriptor_limit is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, descriptor_limit)

    try:
        popen: subprocess.Popen[bytes] = subprocess.Popen(
            list(argv),
            executable=executable,
            env=dict(environment),
            # Ours are not inheritable (PEP 446); what the user gave us beyond 0, 1, 2 is the program's.
            close_fds=False,
            process_group=None if joins else 0,
            preexec_fn=in_child,
        )
    except BaseException:
        if in_foreground:
            # The child may have put its group into the foreground before its exec failed.
            set_foreground(terminal, os.getpgrp())
        process.close()
        raise
    process.take(popen)
    return process


def end_like(status: int) -> int:
    """Return an exit status; for a program that died by a signal, die by the same one."""
    if status >= 0:
        return status
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # The program has dumped its core where that is wanted.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # SIGKILL's disposition cannot be set
        signal.signal(-status, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {-status})
    os.kill(os.getpid(), -status)
    return 128 - status
