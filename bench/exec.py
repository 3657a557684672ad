"""Runs programs by `inpod exec`, as a user does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.target import HTTP_PORT, Target

CHECKOUT = Path(__file__).parent.parent
LIMIT_S = 120


@dataclass(frozen=True)
class Process:
    """A process whose costs are of interest.

    Attributes:
        pid: As this process sees it.
    """

    pid: int

    def cpu_us(self) -> float:
        """Return the processor time of all its threads until now, those that ended included."""
        # The clock of a process: CPUCLOCK_SCHED of linux/posix-timers.h, beside the complement of the pid.
        return time.clock_gettime_ns(~self.pid << 3 | 2) / 1e3

    def pss_mib(self) -> float:
        """Return its memory; what it shares with others counts in part (proc_pid_smaps(5))."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the kernel does not tell")


@dataclass(frozen=True)
class Session:
    """A running session.

    Attributes:
        local: Where its program really listens: "127.0.0.1:7311".
        agent: Its agent.
    """

    local: str
    agent: Process


def inpod(target: Target, *command: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return `command` as it is run in the place of the pod."""
    inpod_exec = [sys.executable, "-m", "inpod", "exec", "--target", f"pid/{target.pid}", "--progress", "json"]
    return [*inpod_exec, *options, "--", *command]


def environment() -> dict[str, str]:
    """Return this process's environment, with the inpod and the bench of this checkout.

    Compiled modules are kept, as those of an installed package are: compiling is not what a start costs.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": f"{CHECKOUT / 'src'}:{CHECKOUT}"}


def output_of(command: list[str]) -> bytes:
    """Run to the end; return what it said on stdout.

    Raises:
        RuntimeError: It failed; with what it said.
    """
    done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, env=environment(), check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-6:])}: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout


@contextmanager
def subscribed(
    target: Target, programs: Path, *, steal: bool, http_filter: dict[str, object] | None = None, port: int = HTTP_PORT
) -> Iterator[Session]:
    """Run the local HTTP server with the pod's traffic."""
    incoming = {"mode": "steal" if steal else "mirror"} | ({"http_filter": http_filter} if http_filter else {})
    server = [str(programs / "http_server"), str(port), "local"]
    with serving(target, programs, *server, config={"feature": {"network": {"incoming": incoming}}}) as session:
        yield session


@contextmanager
def serving(target: Target, programs: Path, *server: str, config: dict[str, object]) -> Iterator[Session]:
    """Run a program that listens on a port of the pod; `programs` has room for the configuration."""
    file = programs / "inpod.json"
    file.write_text(json.dumps(config))
    command = inpod(target, *server, options=("-f", str(file)))
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment()) as process:
        assert process.stderr is not None
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                event = json.loads(line)
                if event.get("event") == "PortSubscribed":
                    break
            else:
                raise RuntimeError(b"".join(said).decode(errors="replace")[-400:])
            # The pipe must not fill.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield Session(event["local"], _agent_of(process.pid))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)


def _agent_of(session_pid: int) -> Process:
    for pid in Path(f"/proc/{session_pid}/task/{session_pid}/children").read_text().split():
        if b"inpod.agent" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return Process(int(pid))
    raise RuntimeError("the session has no agent")
