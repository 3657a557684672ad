"""One matrix for every kind of target: each program of tests/programs stands in a pod and tells what it sees.

A probe (probe.py, probe_uvicorn.py, probe.js, Probe.java, probe.c) takes PROBE_FILE, PROBE_URL and PROBE_PORT from its own
environment and prints, a line each:

    env GREETING            the pod's variable
    file TEXT               content of the pod's file PROBE_FILE
    list a,b                names in its folder
    cwd PATH SIZE           after chdir into that folder: getcwd, and the file's size by its relative name
    call TEXT               body of PROBE_URL, a service that only the pod can reach
    listening ADDRESS PORT  its listener, by getsockname
    request PATH PEER PORT LOCAL PORT
    bye                     asked for /stop: it exits with status 7

It answers requests with "program NAME".
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE_S = 60


@dataclass(frozen=True)
class Program:
    """One probe: its name in answers, and how it is run (`{build}` is the folder of what was compiled)."""

    name: str
    command: tuple[str, ...]

    def argv(self, build: Path) -> list[str]:
        """Return the command."""
        return [word.format(build=build, programs=PROGRAMS, python=sys.executable) for word in self.command]


MATRIX = (
    Program("python", ("{python}", "{programs}/probe.py")),
    Program("uvicorn", ("{python}", "{programs}/probe_uvicorn.py")),
    Program("node", ("node", "{programs}/probe.js")),
    Program("java", ("java", "-cp", "{build}", "Probe")),
    Program("c", ("{build}/probe",)),
    Program("c", ("{build}/probe_static",)),
    Program("go", ("{build}/probe_go",)),
)


def compile_probes(build: Path) -> None:
    """Compile the probes in C, Go and Java into `build`."""
    subprocess.run(["gcc", "-O1", "-o", build / "probe", PROGRAMS / "probe.c"], check=True)
    subprocess.run(["gcc", "-O1", "-static", "-o", build / "probe_static", PROGRAMS / "probe.c"], check=True)
    environment = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", build / "probe_go", PROGRAMS / "probe.go"], check=True, env=environment)
    subprocess.run(["javac", "-d", build, PROGRAMS / "Probe.java"], check=True)


@dataclass
class Remote:
    """A target as the matrix needs it.

    Attributes:
        target: For --target.
        options: Further options of `inpod exec`.
        ask: Sends GET path to the pod's port from inside its network; returns body and the client's address as the
            pod's side sees it.
        greeting: GREETING of the pod.
        file: A file of the pod, with its content and the names beside it.
        url: A service that only the pod reaches, and how its body begins.
        port: The pod's port.
        original: What the original's answers contain.
        address: The pod's address that `ask` calls.
    """

    target: str
    ask: Callable[[str], tuple[str, str]]
    greeting: str
    file: str
    file_text: str
    beside: str
    url: str
    url_text: str
    port: int
    original: str
    address: str
    options: Sequence[str] = ()
    kubeconfig: str = ""


@dataclass
class Running:
    """A started process whose lines of standard output are read as they come."""

    process: "subprocess.Popen[str]"
    lines: "queue.Queue[str | None]" = field(default_factory=queue.Queue)
    seen: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @staticmethod
    def start(argv: Sequence[str | Path], environment: dict[str, str], stderr: Path) -> "Running":
        """Start `argv`; its standard error goes to the file `stderr`."""
        with stderr.open("w") as error:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=error, env=environment, text=True
            )
        running = Running(process)
        running.reader = threading.Thread(target=running._read, daemon=True)
        running.reader.start()
        return running

    def end(self) -> None:
        """End the process, and read what is left."""
        self.process.terminate()
        self.process.wait(DEADLINE_S)
        assert self.reader is not None
        self.reader.join(DEADLINE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def expect(self, start: str) -> str:
        """Return the rest of the next line that begins with `start`."""
        end = time.monotonic() + DEADLINE_S
        while True:
            line = self.lines.get(timeout=max(0.1, end - time.monotonic()))
            assert line is not None, f"ended before {start!r}: {self.seen}"
            self.seen.append(line)
            if line.startswith(start):
                return line[len(start) :].strip()


def inpod() -> list[str]:
    """Return the command of the inpod under test: the one that this Python has."""
    return [sys.executable, "-m", "inpod"]


def check(remote: Remote, program: Program, mode: str, build: Path, scratch: Path) -> None:
    """Run `program` in the place of `remote` and check all that it sees and all that the far end sees."""
    stderr = scratch / "stderr"
    environment = dict(os.environ, PROBE_FILE=remote.file, PROBE_URL=remote.url, PROBE_PORT=str(remote.port))
    environment["GREETING"] = "of this machine"
    if remote.kubeconfig:
        environment["KUBECONFIG"] = remote.kubeconfig
    steal = ["--steal"] if mode == "steal" else []
    argv = [*inpod(), "exec", "--target", remote.target, *remote.options, *steal, "--", *program.argv(build)]
    assert remote.original in remote.ask("/before")[0]
    running = Running.start(argv, environment, stderr)
    try:
        assert running.expect("env") == remote.greeting
        assert running.expect("file") == remote.file_text
        members = running.expect("list").split(",")
        assert [name for name in members if not name.startswith("..2")] == remote.beside.split(",")
        cwd, size = running.expect("cwd").split()
        assert cwd == os.path.dirname(remote.file)
        assert int(size) >= len(remote.file_text)
        assert running.expect("call").startswith(remote.url_text)
        address, port = running.expect("listening").split()
        assert address in ("0.0.0.0", "0:0:0:0:0:0:0:0", "::")
        assert int(port) == remote.port

        body, client = remote.ask("/hello")
        expected = f"program {program.name}" if mode == "steal" else remote.original
        assert expected in body
        path, peer, _, local, local_port = running.expect("request").split()
        assert path == "/hello"
        assert peer.removeprefix("::ffff:") == client
        assert local.removeprefix("::ffff:") == remote.address
        assert int(local_port) == remote.port

        remote.ask("/stop")
        running.expect("bye")
        assert running.process.wait(DEADLINE_S) == 7
    except BaseException:
        print(stderr.read_text(), file=sys.stderr)
        raise
    finally:
        running.end()
    assert remote.original in remote.ask("/after")[0]
