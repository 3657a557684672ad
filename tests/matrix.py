"""One matrix for every kind of target: each program of tests/programs stands in a pod and tells what it sees.

A probe (tests/programs/probe*) takes PROBE_FILE, PROBE_URL and PROBE_PORT from its own environment and prints, a line each:

    env GREETING            the pod's variable
    file TEXT               content of the pod's file PROBE_FILE
    list a,b                names in its folder
    cwd PATH SIZE           after chdir into that folder: getcwd, and the file's size by its relative name
    child TEXT              what a child that it starts in that folder reads in the file
    host NAME               the host's name
    call TEXT               body of PROBE_URL, a service that only the pod can reach
    listening ADDRESS PORT  its listener, by getsockname
    request PATH PEER PORT LOCAL PORT
    bye                     asked for /stop: it exits with status 7

It answers requests with "program NAME". bash cannot listen: a child of it does.
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

from tests.packages import need

PROGRAMS = Path(__file__).parent / "programs"
DEADLINE_S = 60


@dataclass(frozen=True)
class Program:
    """One probe. In its commands `{build}` is the folder of what was compiled, and `{here}` that of the sources.

    Attributes:
        name: Its language, and how it was made.
        command: How it is run.
        made_by: What compiles it.
        needs: What must be installed.
        is_beyond_layer: Only the tracer reaches it (docs/limits.md).
    """

    name: str
    command: tuple[str, ...]
    made_by: tuple[str, ...] = ()
    needs: str = ""
    is_beyond_layer: bool = False

    @property
    def language(self) -> str:
        """As it says in its answers."""
        return self.name.partition("-")[0]

    def make(self, build: Path) -> list[str]:
        """Compile it, unless it was, and return its command; skip the test where that needs something."""
        if self.needs:
            need(self.needs)
        made = build / f"{self.name}.made"
        if self.made_by and not made.exists():
            subprocess.run(_filled(self.made_by, build), check=True, cwd=build)
            made.touch()
        return _filled(self.command, build)


def _filled(command: Sequence[str], build: Path) -> list[str]:
    return [word.format(build=build, here=PROGRAMS, python=sys.executable) for word in command]


def _c(name: str, compiler: str, *options: str) -> Program:
    made_by = (compiler, "-O1", "-Wall", *options, "-o", f"{{build}}/probe-{name}", "{here}/probe.c")
    return Program(name, (f"{{build}}/probe-{name}",), made_by, compiler, is_beyond_layer=name != "c")


def _go(name: str, cgo: str, *options: str) -> Program:
    made_by = ("env", f"CGO_ENABLED={cgo}", "go", "build", *options, "-o", f"{{build}}/probe-{name}", "{here}/probe.go")
    return Program(name, (f"{{build}}/probe-{name}",), made_by, "go", is_beyond_layer=True)


PYTHON = Program("python", ("{python}", "{here}/probe.py"))
GO = _go("go", "0")
"""Without libc: it resolves by itself."""

MATRIX = (
    PYTHON,
    Program("uvicorn", ("{python}", "{here}/probe_uvicorn.py")),
    Program("node", ("node", "{here}/probe.js"), (), "node"),
    Program("java", ("java", "-cp", "{build}", "Probe"), ("javac", "-d", "{build}", "{here}/Probe.java"), "javac"),
    Program("ruby", ("ruby", "{here}/probe.rb"), (), "ruby"),
    Program("php", ("php", "{here}/probe.php"), (), "php"),
    Program("rust", ("{build}/probe-rust",), ("rustc", "-o", "{build}/probe-rust", "{here}/probe.rs"), "rustc"),
    Program(
        "bash", ("bash", "{here}/probe.sh", "{build}/served", "bash"), ("gcc", "-o", "{build}/served", "{here}/probe.c")
    ),
    _c("c", "gcc"),
    _c("c-static", "gcc", "-static"),
    _c("c-musl", "musl-gcc"),
    _c("c-musl-static", "musl-gcc", "-static"),
    GO,
    _go("go-cgo", "1", "-tags", "netcgo"),
)


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
        hostname: The pod's.
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
    hostname: str
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


def check(
    remote: Remote, program: Program, mode: str, build: Path, scratch: Path, *, interceptor: str = "auto"
) -> None:
    """Run `program` in the place of `remote` and check all that it sees and all that the far end sees."""
    words = program.make(build)
    stderr = scratch / "stderr"
    environment = dict(os.environ, PROBE_FILE=remote.file, PROBE_URL=remote.url, PROBE_PORT=str(remote.port))
    environment["GREETING"] = "of this machine"
    if remote.kubeconfig:
        environment["KUBECONFIG"] = remote.kubeconfig
    steal = ["--steal"] if mode == "steal" else []
    options = ["--target", remote.target, "--interceptor", interceptor, *remote.options, *steal]
    argv = [*inpod(), "exec", *options, "--", *words]
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
        assert running.expect("child") == remote.file_text
        assert running.expect("host") == remote.hostname
        assert running.expect("call").startswith(remote.url_text)
        address, port = running.expect("listening").split()
        assert address in ("0.0.0.0", "0:0:0:0:0:0:0:0", "::")
        assert int(port) == remote.port

        body, client = remote.ask("/hello")
        expected = f"program {program.language}" if mode == "steal" else remote.original
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
