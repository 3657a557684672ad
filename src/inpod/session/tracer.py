"""Serves traced programs: takes their filters' listeners, which the tracer's library answers on threads of its own.

The program is started by `inpod-trace` (native/tracer), which puts a seccomp filter over itself, tells us, and becomes
the program. So the program is our child as ever; the tracer lives in this process.
"""

import asyncio
import contextlib
import ctypes
import errno
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from inpod.errors import ExitCode, UserError
from inpod.launch.proc import stat_fields
from inpod.protocol.layer import Trace, encode_reply
from inpod.session.events import Events, Note
from inpod.session.folder import Folder

LAYER = "libinpod_layer.so"
LIBRARY = "libinpod_tracer.so"
TRACE = "inpod-trace"

LAST_CALLS_S = 0.5
"""The listener of a process that has just ended may be open for a moment."""

MAX_CALLERS = 65536
"""Threads that are looked at in the end."""

GRACE_S = 2.0
"""Between SIGTERM and SIGKILL to what a program left behind."""

WHY = {
    errno.EBUSY: "another tracer has it already, perhaps another inpod",
    errno.EINVAL: "Linux 5.19 or later is needed",
    errno.ENOSYS: "the kernel has no seccomp user notification",
    errno.EPERM: "this process may not look into it",
    errno.EACCES: "this process may not filter its calls",
}


class _Caller(ctypes.Structure):
    """A thread that has made calls, and when last, in nanoseconds since the machine's start."""

    _fields_ = (("thread", ctypes.c_uint), ("at_ns", ctypes.c_uint64))


class Tracer:
    """Answers TRACE requests."""

    def __init__(self, native: Path, folder: Folder, events: Events) -> None:
        self._path = native / LIBRARY
        self._folder = folder.path
        self._guardian = folder.guardian
        self._events = events
        self._library: ctypes.CDLL | None = None
        self.main = 0

    def trace(self, request: Trace) -> bytes:
        """Return the reply. A child that cannot be traced runs outside the pod; the program itself does not run."""
        code = request.errno or self._serve(request)
        if not code:
            return encode_reply(0)
        why = WHY.get(code, os.strerror(code))
        path = os.fsdecode(request.path)
        if request.process == self.main or request.listener >= 0:
            # With a filter that nobody serves, each call would fail.
            self._events.emit(Note(f"{path} cannot be traced: {why}."))
            return encode_reply(code)
        self._events.emit(Note(f"{path} runs outside the pod: it cannot be traced: {why}."))
        return encode_reply(0)

    async def close(self) -> None:
        """End what the program left behind: without us, each trapped call of it would fail with ENOSYS."""
        if not await self._is_left_within(LAST_CALLS_S):
            return
        left = self._left_behind()
        self._events.emit(Note(f"{len(left)} processes that the program left behind are ended: they need inpod."))
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in self._left_behind():
                with contextlib.suppress(OSError):
                    os.kill(process, number)
            if not await self._is_left_within(GRACE_S):
                return

    def _serve(self, request: Trace) -> int:
        """Return 0 or an errno."""
        try:
            library = self._library = self._library or _load(self._path)
        except OSError:
            return errno.ENOENT
        with _signals_elsewhere():
            holder = self._guardian.holder()
            folder = os.fsencode(self._folder)
            return int(library.inpod_tracer_serve(folder, request.process, request.listener, holder))

    async def _is_left_within(self, limit_s: float) -> bool:
        """Return whether anything is still traced after that time; at once when nothing is."""
        if self._library is None:
            return False
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while self._library.inpod_tracer_served():
            if loop.time() > end:
                return True
            await asyncio.sleep(0.005)
        return False

    def _left_behind(self) -> set[int]:
        """Return processes that have our variable, or have made calls that came to us."""
        entry = b"INPOD_SESSION=" + os.fsencode(self._folder)
        found = {process for thread, at_ns in self._callers() if (process := _process_of(thread, at_ns))}
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and entry in Path("/proc", name, "environ").read_bytes().split(b"\0"):
                    found.add(int(name))
        return found

    def _callers(self) -> list[tuple[int, int]]:
        assert self._library is not None
        room = (_Caller * MAX_CALLERS)()
        count = self._library.inpod_tracer_callers(room, MAX_CALLERS)
        return [(each.thread, each.at_ns) for each in room[:count]]


def intercepted_environment(
    native: Path, folder: Path, environment: Mapping[str, str], executable: str, interceptor: str
) -> dict[str, str]:
    """Return the variables that bring an interceptor into the program; what was preloaded before stays."""
    session = {"INPOD_SESSION": str(folder)}
    before = environment.get("LD_PRELOAD", "")
    if interceptor == "tracer":
        # Of an inpod around this one: it would do all a second time.
        others = [path for path in before.replace(":", " ").split() if os.path.basename(path) != LAYER]
        return session | {"INPOD_EXEC": executable} | ({"LD_PRELOAD": ":".join(others)} if before else {})
    layer = str(native / LAYER)
    return session | {"LD_PRELOAD": f"{layer}:{before}" if before else layer}


def native_folder() -> Path:
    """Return the folder of what is built from Rust.

    Raises:
        UserError: The package was installed without it.
    """
    import inpod

    folder = Path(inpod.__path__[0]) / "native"
    for name in (LAYER, LIBRARY, TRACE):
        if not (folder / name).exists():
            raise UserError(
                f"A part of inpod is missing: {folder / name}.",
                hint="Install inpod again with Rust at hand: pip install .",
                exit_code=ExitCode.CANNOT_EXECUTE,
            )
    return folder


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    library.inpod_tracer_serve.argtypes = [ctypes.c_char_p, ctypes.c_uint, ctypes.c_int, ctypes.c_int]
    library.inpod_tracer_serve.restype = ctypes.c_int
    library.inpod_tracer_served.restype = ctypes.c_uint
    library.inpod_tracer_callers.argtypes = [ctypes.POINTER(_Caller), ctypes.c_size_t]
    library.inpod_tracer_callers.restype = ctypes.c_size_t
    return library


def _process_of(thread: int, at_ns: int) -> int:
    """Return the process of a thread that was there at a time; 0 when it is gone, whoever has its number by now."""
    try:
        facts = stat_fields(thread)
        status = Path(f"/proc/{thread}/status").read_text()
    except OSError:
        return 0
    began_ns = int(facts[19]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # starttime, proc(5)
    if facts[0] in (b"Z", b"X") or began_ns > at_ns:
        return 0
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Tgid:"))


@contextmanager
def _signals_elsewhere() -> Iterator[None]:
    """Start threads so that signals to this process never interrupt them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
