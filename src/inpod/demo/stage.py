"""Starts the demo's pod and the program in its place. Both end with the demo, however that ends."""

import ctypes
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inpod.errors import ExitCode, UserError

HERE = Path(__file__).parent

POD_USER = 1000
"""Whom the pod serves as, where more than one user can be had: most real ones do not run as root."""

START_LIMIT_S = 30.0
"""Longest silence of a process that starts."""

STEP_LIMIT_S = 10.0
"""Longest wait for something to be seen."""

END_LIMIT_S = 10.0

PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl
"""Looked up here: between fork and exec nothing is loaded."""

InPlace = Callable[[int, Sequence[str]], list[str]]
"""Makes the words that run a program in the place of a process; gets its id and further options."""


class Silence(Exception):
    """Something that should have been said was not."""


@dataclass
class Lines:
    """A process that prints JSON lines."""

    process: "subprocess.Popen[bytes]"

    def __post_init__(self) -> None:
        self._rest = b""
        self._has_spoken = False

    def line(self, limit_s: float) -> bytes:
        """Return the next line.

        Raises:
            Silence: None came in time.
        """
        assert self.process.stdout is not None
        end = time.monotonic() + limit_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not data:
                raise Silence("it ended" if ready else f"nothing in {limit_s:.0f} s")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        self._has_spoken = True
        return line

    def has_no_means(self) -> bool:
        """Wait for the first word; return whether it ended instead, for this machine lacks what it needs."""
        assert self.process.stdout is not None
        if not self._rest and select.select([self.process.stdout], [], [], START_LIMIT_S)[0]:
            self._rest = os.read(self.process.stdout.fileno(), 65536)
        return not self._rest and self.process.wait(END_LIMIT_S) == ExitCode.NO_MEANS

    def expect(self, key: str) -> dict[str, str]:
        """Return the next line that has `key`.

        Raises:
            Silence: None came in time.
        """
        while True:
            found: dict[str, str] = json.loads(self.line(STEP_LIMIT_S if self._has_spoken else START_LIMIT_S))
            if key in found:
                return found


@dataclass
class Pod(Lines):
    """The running pod.

    Attributes:
        pid: Of its process, as seen from here.
    """

    pid: int = 0

    def ask(self, line: str) -> dict[str, object]:
        """Let the pod do something; return what it says (see pod.py)."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        found: dict[str, object] = json.loads(self.line(START_LIMIT_S))
        return found

    def seen(self, service: str) -> list[list[str]]:
        """Return the requests that a service of the pod got: path and caller's address."""
        found = self.ask("seen")[service]
        assert isinstance(found, list)
        return found


@contextmanager
def running_pod() -> Iterator[Pod]:
    """Make a pod whose values are new each time.

    Raises:
        UserError: There are no namespaces for us.
    """
    if shutil.which("unshare") is None:
        raise UserError(
            "The demo needs unshare(1).", hint="Install the package util-linux.", exit_code=ExitCode.NO_MEANS
        )
    mark = secrets.token_hex(2)
    values = {"POD_NAME": f"kitchen-{mark}", "POD_MENU": f"soup {mark}", "POD_ORDERS": f"orders book {mark}, page"}
    is_root = os.geteuid() == 0
    own_user = [] if is_root else ["--user", "--map-root-user"]
    spaces = ["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
    program = [sys.executable, "-I", str(HERE / "pod.py"), str(POD_USER if is_root else 0)]
    # In a session of its own: Ctrl-C is for us. It ends when our end of its stdin is closed, even by SIGKILL.
    with subprocess.Popen(
        ["unshare", *own_user, *spaces, *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=values,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        pod = Pod(process)
        try:
            pod.line(START_LIMIT_S)
            # unshare forked: the pod is its child.
            pod.pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
            yield pod
        except Silence as error:
            raise UserError(
                f"The demo's pod did not start ({error}).",
                hint="It needs namespaces: run it as root, outside of containers."
                if is_root
                else "This system may have no user namespaces for ordinary users: run it as root.",
                exit_code=ExitCode.NO_MEANS,
            ) from None
        finally:
            process.stdin.close()
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def in_its_place(pid: int, options: Sequence[str]) -> list[str]:
    """Return the words that a user would type before the program's."""
    # -P: the working directory is the user's, not Python's.
    return [sys.executable, "-P", "-m", "inpod", "exec", "--target", f"pid/{pid}", "--progress", "off", *options, "--"]


@contextmanager
def running_program(pod: Pod, in_place: InPlace, *options: str) -> Iterator[Lines]:
    """Run the local program in the pod's place."""
    command = [*in_place(pod.pid, options), sys.executable, str(HERE / "program.py")]
    own = os.getpid()

    def in_child() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != own:
            os._exit(1)

    # What lies below the working directory is this machine's: the pod's /srv, for who stands there.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/", preexec_fn=in_child
    ) as process:
        try:
            yield Lines(process)
        finally:
            process.terminate()
            try:
                process.wait(END_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
