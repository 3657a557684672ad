"""Programs that only the pod has."""

from pathlib import Path

import pytest

from inpod.protocol.layer import Warn
from inpod.session.tracer import TRACE, native_folder
from tests.fakes.pod import Link, Pod
from tests.layer.conftest import Stage

pytestmark = pytest.mark.parametrize("interceptor", ["layer", "tracer"])

TELL = "#!/bin/sh -e\necho $0 $*; cat /app/config.yaml\n"
"""Says what it was called as and with, and reads the pod."""

MODES = {
    "/app/bin/tell": 0o755,
    "/app/bin/deep": 0o755,
    "/app/bin/plain": 0o755,
    "/app/bin/static": 0o755,
    "/app/bin/dynamic": 0o755,
    "/app/bin/empty": 0o755,
    "/app/bin/loop": 0o755,
}


@pytest.fixture
def pod(programs: Path) -> Pod:
    return Pod(
        files={
            "/app/config.yaml": b"hello",
            "/app/bin/tell": TELL.encode(),
            "/app/bin/deep": b"#!/app/bin/tell  one two \n",
            "/app/bin/plain": b"echo plain $0 $*",
            "/app/bin/not-executable": TELL.encode(),
            "/app/bin/static": (programs / "read_file_static").read_bytes(),
            "/app/bin/dynamic": (programs / "read_file").read_bytes(),
            "/app/bin/empty": b"#!\n",
            "/app/bin/loop": b"#!/app/bin/loop\n",
            "/app/tool": Link("bin/static"),
        },
        modes=MODES,
    )


@pytest.fixture
def rules() -> str:
    return f"tracer\t{native_folder() / TRACE}\n"


PYTHON = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
PYTHON_SPAWN = "import os, sys; os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ); sys.exit(os.wait()[1] >> 8)"
PYTHON_EXEC = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
PYTHON_THREAD = (
    "import os, sys, threading\nthreading.Thread(target=os.execv, args=(sys.argv[1], sys.argv[1:])).start()\n"
    "threading.Event().wait()"
)
NODE = (
    "const [file, ...args] = process.argv.slice(1);"
    "process.exit(require('child_process').spawnSync(file, args, {stdio: 'inherit'}).status)"
)
PARENTS = {
    "bash": ("bash", "-c", '"$@"; exit $?', "bash"),
    "env": ("env", "-i"),
    "python": ("python3", "-c", PYTHON),
    "python-spawn": ("python3", "-c", PYTHON_SPAWN),
    "python-exec": ("python3", "-c", PYTHON_EXEC),
    "python-thread": ("python3", "-c", PYTHON_THREAD),
    "node": ("node", "-e", NODE),
}


@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
def test_static_program(stage: Stage, parent: tuple[str, ...]) -> None:
    out = stage.output(*parent, "/app/bin/static", "/app/config.yaml", "a b")
    assert out == "/app/bin/static\na b\n/app/bin/static\nhello"
    assert stage.session.asked(Warn) == []


@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
def test_dynamic_program(stage: Stage, parent: tuple[str, ...]) -> None:
    out = stage.output(*parent, "/app/bin/dynamic", "/app/config.yaml", "a b")
    assert out == "/app/bin/dynamic\na b\n/app/bin/dynamic\nhello"


@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
def test_script(stage: Stage, parent: tuple[str, ...]) -> None:
    assert stage.output(*parent, "/app/bin/tell", "a", "b") == "/app/bin/tell a b\nhello"


@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
def test_script_whose_interpreter_only_the_pod_has(stage: Stage, parent: tuple[str, ...]) -> None:
    assert stage.output(*parent, "/app/bin/deep", "a") == "/app/bin/tell one two /app/bin/deep a\nhello"


def test_script_of_this_machine_whose_interpreter_only_the_pod_has(stage: Stage, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/app/bin/tell x\n")
    script.chmod(0o755)
    assert stage.output("bash", "-c", f"{script} a") == f"/app/bin/tell x {script} a\nhello"
    assert stage.output("bash", "-c", f"cd {tmp_path}; ./script a") == "/app/bin/tell x ./script a\nhello"
    script.chmod(0o644)
    assert "PermissionError" in stage.run("python3", "-c", PYTHON_EXEC, str(script)).stderr


EXECS = ["execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle", "execveat", "flagged"]


@pytest.mark.parametrize("way", [*EXECS, "syscall", "vfork", "posix_spawn"])
def test_every_way_to_execute(stage: Stage, way: str) -> None:
    after = "afterwards 0\n" if way == "vfork" else ""
    out = stage.output("spawn", way, "/app/bin/static", "/app/config.yaml", "word")
    assert out == f"/app/bin/static\nword\n/app/bin/static\nhello{after}"
    assert stage.output("spawn", way, "/app/bin/tell", "a", "b") == f"/app/bin/tell a b\nhello{after}"


@pytest.mark.parametrize("way", ["execvpe", "posix_spawnp"])
def test_program_is_found_in_a_folder_of_path_that_only_the_pod_has(stage: Stage, way: str) -> None:
    path = "/app/none:/app:/app/bin:/usr/bin:/bin"
    out = stage.output("spawn", way, "static", "/app/config.yaml", "word", environment={"PATH": path})
    assert out == "static\nword\n/app/bin/static\nhello"
    assert stage.output("spawn", way, "tell", "a", environment={"PATH": path}) == "/app/bin/tell a\nhello"
    assert stage.output("bash", "-c", "tell a", environment={"PATH": path}) == "/app/bin/tell a\nhello"


def test_program_by_its_name_in_a_directory_of_the_pod(stage: Stage) -> None:
    assert stage.output("bash", "-c", "cd /app/bin && ./tell a") == "./tell a\nhello"
    assert stage.output("bash", "-c", "cd /app && ./tool ./config.yaml a") == "./tool\na\n/app/bin/static\nhello"


def test_names_of_program_code_are_looked_for_here_but_in_a_directory_of_the_pod(stage: Stage) -> None:
    """As for reading: rules of `native/rules`."""
    stage.pod.files["/app/bin/run.sh"] = TELL.encode()
    stage.pod.modes["/app/bin/run.sh"] = 0o755
    assert stage.run("bash", "-c", "/app/bin/run.sh a; exit $?").returncode == 127
    assert stage.output("bash", "-c", "cd /app/bin && ./run.sh a") == "./run.sh a\nhello"


def test_through_a_link(stage: Stage) -> None:
    assert stage.output("bash", "-c", "/app/tool /app/config.yaml a") == "/app/tool\na\n/app/bin/static\nhello"


def test_what_this_machine_has_is_executed_here(stage: Stage, tmp_path: Path) -> None:
    """It is what was built here, to stand in the pod."""
    mine = tmp_path / "mine"
    mine.write_text("#!/bin/sh\necho mine\n")
    mine.chmod(0o755)
    stage.pod.files[str(mine)] = b"#!/bin/sh\necho the pod's\n"
    stage.pod.modes[str(mine)] = 0o755
    assert stage.output("bash", "-c", str(mine)) == "mine\n"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/app/bin/none", 127, "No such file or directory"),
        ("/app/bin/not-executable", 126, "Permission denied"),
        ("/app/bin", 126, "Is a directory"),
        ("/app/bin/tell/below", 126, "Not a directory"),
    ],
)
def test_what_cannot_be_executed_fails_as_ever(stage: Stage, path: str, status: int, said: str) -> None:
    done = stage.run("bash", "-c", f"{path}; exit $?")
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/app/bin/none", "ENOENT"),
        ("/app/bin/not-executable", "EACCES"),
        ("/app/bin", "EACCES"),
        ("/app/bin/plain", "ENOEXEC"),
        ("/app/bin/empty", "ENOEXEC"),
        ("/app/bin/loop", "ELOOP"),
    ],
)
def test_failed_exec_returns_to_the_program(stage: Stage, path: str, error: str) -> None:
    code = (
        "import errno, os, sys\n"
        "try: os.execv(sys.argv[1], sys.argv[1:])\n"
        "except OSError as error: print(errno.errorcode[error.errno], open('/app/config.yaml').read())"
    )
    assert stage.output("python3", "-c", code, path) == f"{error} hello\n"


def test_text_without_interpreter_runs_in_a_shell(stage: Stage) -> None:
    assert stage.output("bash", "-c", "/app/bin/plain a") == "plain /app/bin/plain a\n"
    for way in ("execvp", "execvpe", "execlp"):
        assert stage.output("spawn", way, "/app/bin/plain", "a") == "plain /app/bin/plain a\n"


def test_many_arguments(stage: Stage) -> None:
    assert stage.output("bash", "-c", "/app/bin/tell $(seq 5000) | wc -w") == "5002\n"


def test_storm(stage: Stage) -> None:
    script = "for i in $(seq 40); do (/app/bin/tell $i >/dev/null || echo failed) & done; wait; echo done"
    assert stage.output("bash", "-c", script) == "done\n"
