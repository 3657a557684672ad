"""Processes and network namespaces of this machine: the same agent, started here, over a socketpair.

Only the agent is raised: as root it is started as it is, beside one's own process in a user namespace of one's own too (it
has all rights in there), otherwise by sudo(8). The program keeps the user's rights.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import inpod
from inpod.errors import ExitCode, UserError
from inpod.targets.spec import DirectSpec, ProcessTarget

if TYPE_CHECKING:
    from inpod.targets.base import AgentLink

NETNS_HOME = Path("/run/netns")
"""Where ip-netns(8) keeps names."""

END_LIMIT_S = 5.0
"""How long an agent whose link was closed may take to end."""

SUDO_LIMIT_S = 10.0
"""How long sudo may take to say whether it needs a password."""

PF_KTHREAD = 0x00200000
"""Flag of a thread of the kernel (include/linux/sched.h)."""

LAST_WORDS_BYTES = 4096

LINK_BUFFER_BYTES = 2 * 1024 * 1024
"""Of the socketpair, as far as the machine allows: with its default of 208 KiB the two ends wake each other three times as
often for the same bytes."""

_MAIN = "import sys; sys.path.insert(0, sys.argv.pop(1)); from inpod.agent.main import main; main(sys.argv[1:])"
"""Python is isolated (-I): the user's PYTHONPATH and working directory must not matter to the agent."""

_Started = tuple["subprocess.Popen[bytes]", socket.socket, IO[bytes]]
"""An agent's process, our end of the link, and what it writes."""


class DirectTarget:
    """A target of this machine."""

    def __init__(self, spec: DirectSpec) -> None:
        self._spec = spec
        self._started: _Started | None = None

    @property
    def name(self) -> str:
        """As the user named it."""
        return str(self._spec)

    def get_rights(self) -> None:
        """See that the target is there and may be entered. On a terminal, sudo may ask for a password.

        Raises:
            UserError: No such process or namespace, or the right is missing.
        """
        arguments(self._spec)
        if not self._needs_sudo():
            return
        if shutil.which("sudo") is None:
            raise UserError(
                f"Only root may enter {self.name}, and there is no sudo.",
                hint="Run inpod as root, or choose a process of yours in a user namespace of yours.",
                exit_code=ExitCode.NO_PERMISSION,
            )
        if _sudo("-n", "true", is_quiet=True):
            return
        if not sys.stdin.isatty():
            raise UserError(
                f"Only root may enter {self.name}, and sudo asks for a password.",
                hint="Run 'sudo -v' first, or run inpod in a terminal.",
                exit_code=ExitCode.NO_PERMISSION,
            )
        if not _sudo("-v", is_quiet=False):
            raise UserError(
                f"Only root may enter {self.name}, and sudo refuses it.",
                hint="Ask for the right to use sudo, or choose a process of yours in a user namespace of yours.",
                exit_code=ExitCode.NO_PERMISSION,
            )

    def start_soon(self) -> None:
        """Start the agent's process ahead of `start_agent`, to load its modules while the session loads its own.

        Raises:
            UserError: As `start_agent`. When that is never called, the agent ends with this process.
        """
        what = arguments(self._spec)
        raised_by = ["sudo", "-n", "--"] if self._needs_sudo() else []
        source = os.path.dirname(inpod.__path__[0])
        # sudo passes no descriptors but the first three on: the socket is standard input.
        self._started = _start([*raised_by, sys.executable, "-I", "-c", _MAIN, source, "--fd", "0", *what])

    async def start_agent(self, report: Callable[[str], None]) -> "AgentLink":
        """Start an agent.

        Raises:
            UserError: No such process or namespace, or the agent cannot be started.
        """
        from inpod.targets.base import AgentLink  # the agent's start does not wait for it

        report("Starting the agent on this machine")
        if self._started is None:
            self.start_soon()
            assert self._started is not None
        (process, here, errors), self._started = self._started, None  # a second call starts a second agent

        async def undo() -> None:
            here.close()
            await _end(process)
            errors.close()

        return AgentLink(
            sock=here, mounts=(), describes=describe(self._spec), undo=undo, last_words=lambda: last_words(errors)
        )

    def _needs_sudo(self) -> bool:
        return os.geteuid() != 0 and not _is_in_own_user_namespace(self._spec.pid)


def arguments(spec: DirectSpec) -> list[str]:
    """Return the agent's options.

    Raises:
        UserError: The process or the namespace is not there, or is no target.
    """
    found: list[str] = []
    if spec.pid is not None:
        _require_program(spec.pid)
        found += ["--pid", str(spec.pid)]
    if not isinstance(spec, ProcessTarget):
        path = Path(spec.name).absolute() if "/" in spec.name else NETNS_HOME / spec.name
        if not path.exists():
            raise UserError(
                f"There is no network namespace '{spec.name}'.", hint=_known(), exit_code=ExitCode.TARGET_NOT_FOUND
            )
        found += ["--netns", str(path)]
    return found


def _require_program(pid: int) -> None:
    """Refuse what has no environment and no files.

    Raises:
        UserError: There is no such process, it has ended, or it is a thread of the kernel.
    """
    try:
        # proc(5), /proc/PID/stat: "PID (NAME) STATE …", the flags are the seventh after the name, which may have any bytes.
        head, _, rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")
    except OSError:
        raise UserError(
            f"There is no process {pid} on this machine.",
            hint="Look at 'ps -e'; for a process in a cluster use --target pod/NAME.",
            exit_code=ExitCode.TARGET_NOT_FOUND,
        ) from None
    name, fields = head.partition(" (")[2], rest.split()
    if int(fields[6]) & PF_KTHREAD:
        raise UserError(
            f"Process {pid} ({name}) is a thread of the kernel, which has no environment and no files.",
            hint="Choose another; in 'ps -ef' those of the kernel stand in brackets.",
            exit_code=ExitCode.TARGET_NOT_FOUND,
        )
    if fields[0] in "ZX":
        raise UserError(
            f"Process {pid} ({name}) has ended; only its parent has not noticed yet.",
            hint="Choose one that runs: see 'ps -e'.",
            exit_code=ExitCode.TARGET_NOT_READY,
        )


def describe(spec: DirectSpec) -> str:
    """Return the target for people: "process 4711 (nginx)"."""
    parts = [] if isinstance(spec, ProcessTarget) else [f"network namespace {spec.name}"]
    if spec.pid is not None:
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{spec.pid}/comm").read_text(errors="replace").strip()
            parts.append(f"process {spec.pid} ({name})")
    return " and ".join(parts) or str(spec)


def _start(command: Sequence[str]) -> _Started:
    """Start `command` with a socket as its standard input; return it, the other end, and where its errors are kept."""
    errors = open(os.memfd_create("agent-errors"), "w+b")  # noqa: SIM115 # the caller closes it
    here, there = socket.socketpair()
    for end in (here, there):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_BUFFER_BYTES)
    try:
        # Ctrl-C and Ctrl-Z in the terminal are for the program: neither agent nor sudo may be in a group that gets them.
        process = subprocess.Popen(
            command, stdin=there.fileno(), stdout=errors, stderr=errors, cwd="/", process_group=0
        )
    except OSError as error:
        here.close()
        errors.close()
        raise UserError(
            f"Cannot start the agent with {command[0]}: {error.strerror}.",
            hint="Check the Python that inpod runs with.",
            exit_code=ExitCode.AGENT_START,
        ) from None
    finally:
        there.close()
    return process, here, errors


def last_words(errors: IO[bytes]) -> str:
    """Return the last line that the agent wrote, "" when it wrote none."""
    if errors.closed:
        return ""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - LAST_WORDS_BYTES))
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _known() -> str:
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(NETNS_HOME))
    return f"There are: {', '.join(names)}." if names else "There are none; 'ip netns add NAME' makes one."


def _is_in_own_user_namespace(pid: int | None) -> bool:
    """Whether the process is ours, in another user namespace: then we have all rights over it without being root."""
    if pid is None:
        return False
    process = Path(f"/proc/{pid}")
    try:
        is_ours = process.stat().st_uid == os.geteuid()
        return is_ours and os.readlink(process / "ns/user") != os.readlink("/proc/self/ns/user")
    except OSError:
        return False


def _sudo(*words: str, is_quiet: bool) -> bool:
    out = subprocess.DEVNULL if is_quiet else None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        limit = SUDO_LIMIT_S if is_quiet else None  # people type at their own pace
        return subprocess.run(["sudo", *words], stdout=out, stderr=out, timeout=limit).returncode == 0
    return False


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """Wait for an agent whose link was closed; kill it if it stays."""
    import asyncio  # the agent's start does not wait for it

    try:
        await asyncio.to_thread(process.wait, END_LIMIT_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):  # sudo's child is not ours to kill
            process.kill()
            await asyncio.to_thread(process.wait, END_LIMIT_S)
