"""The built layer, compiled programs, and a stage on which a program runs under it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from inpod.session.tracer import LAYER, LIBRARY, TRACE, native_folder
from tests.fakes.pod import Pod
from tests.fakes.session import DEADLINE_S, FakeSession

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"
STATIC = {"print_environment", "read_file"}
"""Programs that are also linked without a dynamic linker, as NAME_static."""


@pytest.fixture(scope="session")
def layer() -> Path:
    """The layer as pip has installed it; the tracer lies beside it."""
    return native_folder() / LAYER


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the C programs of tests/programs, compiled."""
    build = tmp_path_factory.mktemp("programs")
    for source in PROGRAMS.glob("*.c"):
        command: list[str | Path] = ["gcc", "-O1", "-Wall", "-D_FILE_OFFSET_BITS=64", "-pthread", str(source)]
        subprocess.run([*command, "-o", build / source.stem], check=True)
        if source.stem in STATIC:
            subprocess.run([*command, "-static", "-o", build / f"{source.stem}_static"], check=True)
    return build


@dataclass
class Stage:
    """A fake session, and how programs run in it.

    Attributes:
        programs: Where the compiled programs are.
        tracer: `inpod-trace`, where programs are traced instead of having the layer.
    """

    session: FakeSession
    pod: Pod
    environment: dict[str, str]
    programs: Path
    tracer: Path | None = None

    def start(self, *command: str | Path, environment: dict[str, str] | None = None) -> "subprocess.Popen[str]":
        """Start an intercepted program; the caller waits for it."""
        argv = self._found(command)
        env = self.environment | (environment or {})
        if self.tracer is not None:
            env["INPOD_EXEC"] = shutil.which(argv[0], path=env["PATH"]) or argv[0]
        return subprocess.Popen(
            argv,
            executable=self.tracer,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *command: str | Path, environment: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run an intercepted program."""
        process = self.start(*command, environment=environment)
        try:
            out, err = process.communicate(timeout=2 * DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def output(self, *command: str | Path, environment: dict[str, str] | None = None) -> str:
        """Run a program that must succeed, and return what it printed."""
        done = self.run(*command, environment=environment)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    def _found(self, command: tuple[str | Path, ...]) -> list[str]:
        name, *rest = map(str, command)
        compiled = self.programs / name
        return [str(compiled) if compiled.exists() else name, *rest]


@pytest.fixture
def pod() -> Pod:
    """A pod that a test fills."""
    return Pod()


@pytest.fixture
def rules() -> str:
    """Lines of the rules file that a test module adds."""
    return ""


@pytest.fixture
def home() -> Iterator[Path]:
    """Where the session's folder is made: a short path, as that of a unix socket must be, and open to other users."""
    with tempfile.TemporaryDirectory(prefix="inpod-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def interceptor() -> str:
    """How programs are intercepted; modules whose tests hold for both say so by parameters of this name."""
    return "layer"


@pytest.fixture
def stage(
    layer: Path, interceptor: str, programs: Path, pod: Pod, rules: str, home: Path, tmp_path: Path
) -> Iterator[Stage]:
    """A session for one test. The temporary folders and the interpreters are this machine's."""
    java = shutil.which("java")
    java_home = Path(java).resolve().parents[1] if java else Path("/usr")
    local = [home, tmp_path, programs, ROOT, Path(sys.prefix), Path(sys.base_prefix), java_home, Path.home()]
    lines = "files\tread\n" + "".join(f"local-tree\t{tree}\n" for tree in local) + rules
    with FakeSession.running(home / "session", pod, lines) as session:
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "INPOD_SESSION": str(session.folder),
        }
        session.tracer = layer.with_name(LIBRARY)
        if interceptor == "layer":
            yield Stage(session, pod, environment | {"LD_PRELOAD": str(layer)}, programs)
        else:
            yield Stage(session, pod, environment, programs, tracer=layer.with_name(TRACE))


def is_root() -> bool:
    """Return whether tests may change their user."""
    return os.geteuid() == 0
