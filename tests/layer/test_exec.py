"""What becomes of the layer in children."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from inpod.protocol.layer import Warn
from tests.fakes.pod import Pod
from tests.layer.conftest import Stage, is_root
from tests.packages import need

LISTED = ["execl", "execlp", "execle"]

WAYS = [
    "execve",
    "execvpe",
    "fexecve",
    "execveat",
    "syscall",
    "execv",
    "execvp",
    *LISTED,
    "vfork",
    "posix_spawn",
    "posix_spawnp",
]


@pytest.fixture
def pod() -> Pod:
    return Pod(files={"/app/config.yaml": b"hello"})


def layer_of(stage: Stage) -> list[str]:
    """Return the entries of an environment that bring the layer."""
    return [f"{name}={stage.environment[name]}" for name in ("INPOD_SESSION", "LD_PRELOAD")]


@pytest.mark.parametrize("way", WAYS)
def test_layer_comes_back_into_a_cleared_environment(stage: Stage, way: str) -> None:
    out = stage.output("spawn", way, str(stage.programs / "print_environment"), "word").splitlines()
    assert out[:4] == ["A=1", *layer_of(stage), "argument word"]
    assert out[4:] == (["afterwards 0"] if way == "vfork" else [])


@pytest.mark.parametrize("way", LISTED)
def test_list_longer_than_there_are_registers(stage: Stage, way: str) -> None:
    command = ["/bin/bash", "-c", 'echo $# "$@"; exec cat /app/config.yaml', "bash", *"abcdefg"]
    assert stage.output("spawn", way, *command) == "7 a b c d e f g\nhello"


@pytest.mark.parametrize("way", LISTED)
def test_list_that_fails_returns_to_the_program(stage: Stage, way: str) -> None:
    assert stage.run("spawn", way, "/app/none", "word").returncode == 127


@pytest.mark.parametrize("way", WAYS)
def test_child_beyond_reach_gets_a_clean_environment(stage: Stage, way: str) -> None:
    program = str(stage.programs / "print_environment_static")
    out = stage.output("spawn", way, program, environment={"A": "2"}).splitlines()
    assert out == ["A=1", *(["afterwards 0"] if way == "vfork" else [])]
    (warning,) = stage.session.asked(Warn)
    assert warning.why == "static"
    assert warning.path == program.encode()


def test_child_beyond_reach_loses_only_the_layer(stage: Stage) -> None:
    program = str(stage.programs / "print_environment_static")
    preload = f"/other.so:{stage.environment['LD_PRELOAD']}:/more.so"
    out = stage.output("env", f"LD_PRELOAD={preload}", program)
    assert "LD_PRELOAD=/other.so:/more.so" in out.splitlines()
    assert "INPOD_SESSION" not in out


@pytest.mark.parametrize("way", ["system", "popen"])
def test_shell_of_a_program_with_a_cleared_environment_stands_in_the_pod(stage: Stage, way: str) -> None:
    command = """read -r line < /app/config.yaml || echo "it's $line" "$A" '$B' "'"; cat /app/config.yaml; exit 3"""
    done = stage.run("spawn", way, command)
    assert (done.returncode, done.stdout, done.stderr) == (3, "it's hello 1 $B '\nhello", "")


@pytest.mark.parametrize("way", ["system", "popen"])
def test_shell_of_a_program_with_a_cleared_environment_is_called_sh(stage: Stage, way: str) -> None:
    done = stage.run("spawn", way, 'echo "$0"; none-such')
    assert (done.returncode, done.stdout, done.stderr.split(":")[0]) == (127, "sh\n", "sh")
    assert stage.output("spawn", way, "-none-such; echo ran").endswith("ran\n")


def test_large_and_missing_environments(stage: Stage) -> None:
    program = str(stage.programs / "print_environment")
    out = stage.output("spawn", "large", program).splitlines()
    assert len(out) == 5003
    assert set(layer_of(stage)) < set(out)
    assert stage.output("spawn", "null", program).splitlines() == layer_of(stage)


def test_other_preloads_stay_and_the_layer_joins_them(stage: Stage) -> None:
    program = str(stage.programs / "print_environment")
    out = stage.output("env", "LD_PRELOAD=libpthread.so.0", program).splitlines()
    assert f"LD_PRELOAD={stage.environment['LD_PRELOAD']}:libpthread.so.0" in out


def test_session_inside_keeps_its_own(stage: Stage, tmp_path: Path) -> None:
    program = str(stage.programs / "print_environment")
    out = stage.output("env", f"INPOD_SESSION={tmp_path}", "LD_PRELOAD=/other/libinpod_layer.so", program)
    assert f"INPOD_SESSION={tmp_path}" in out.splitlines()
    assert "LD_PRELOAD=/other/libinpod_layer.so" in out.splitlines()


def test_script_is_as_its_interpreter(stage: Stage, tmp_path: Path) -> None:
    static = stage.programs / "print_environment_static"
    script, outer = tmp_path / "script", tmp_path / "outer"
    script.write_text(f"#!{static}\n")
    outer.write_text(f"#! {script} x\n")
    for path in (script, outer):
        path.chmod(0o755)
        assert "LD_PRELOAD" not in stage.output("env", str(path))
    assert [warning.path for warning in stage.session.asked(Warn)] == [bytes(script), bytes(outer)]


def test_file_without_interpreter_runs_in_a_shell(stage: Stage, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("echo $1 $LD_PRELOAD\n")
    plain.chmod(0o755)
    out = stage.output("spawn", "execvp", str(plain), "word")
    assert out == f"word {stage.environment['LD_PRELOAD']}\n"


def test_failed_exec_says_why(stage: Stage, tmp_path: Path) -> None:
    assert stage.output("bash", "-c", "no-such-program; echo $?") == "127\n"
    (tmp_path / "not-executable").write_text("")
    assert stage.output("bash", "-c", f"{tmp_path}/not-executable; echo $?") == "126\n"
    done = stage.run("spawn", "posix_spawn", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (1, "ENOENT\n")


@pytest.mark.skipif(not is_root(), reason="makes a file of another user")
def test_set_id_program_is_warned_of(stage: Stage, tmp_path: Path) -> None:
    program = tmp_path / "set-id"
    shutil.copy(stage.programs / "print_environment", program)
    os.chown(program, 65534, 65534)
    program.chmod(0o755 | stat.S_ISUID)
    assert "LD_PRELOAD" not in stage.output("env", str(program))
    assert [warning.why for warning in stage.session.asked(Warn)] == ["set-id"]


def test_go_program_is_warned_of(stage: Stage, tmp_path: Path) -> None:
    need("go")
    source = tmp_path / "main.go"
    source.write_text('package main\n\nimport "os"\n\nfunc main() { print(os.Getenv("LD_PRELOAD"), "ran") }\n')
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    subprocess.run(["go", "build", "-o", tmp_path / "go", source], check=True, env=environment)
    done = stage.run("env", str(tmp_path / "go"))
    assert (done.returncode, done.stderr) == (0, "ran")
    assert [warning.why for warning in stage.session.asked(Warn)] == ["go"]


@pytest.mark.parametrize(
    "command",
    [
        ("env", "-i", "cat", "/app/config.yaml"),
        ("env", "-i", "bash", "-c", "env -i /bin/cat /app/config.yaml"),
        ("python3", "-c", "import subprocess; subprocess.run(['/bin/cat', '/app/config.yaml'], env={}, check=True)"),
        ("python3", "-c", "import os; os.system('env -i cat /app/config.yaml')"),
        ("python3", "-c", "import os; os.posix_spawn('/bin/cat', ['cat', '/app/config.yaml'], {}); os.wait()"),
        ("python3", "-c", "import os; print(os.popen('cat /app/config.yaml').read(), end='')"),
        ("perl", "-e", "exec 'cat', '/app/config.yaml'"),
        ("bash", "-c", "(cat /app/config.yaml)"),
        ("find", "/app/config.yaml", "-exec", "cat", "{}", ";"),
        ("xargs", "-a", "/dev/null", "cat", "/app/config.yaml"),
        (
            "node",
            "-e",
            "require('child_process').spawnSync('/bin/cat', ['/app/config.yaml'], {env: {}, stdio: 'inherit'})",
        ),
        ("node", "-e", "require('child_process').execSync('cat /app/config.yaml', {env: {}, stdio: 'inherit'})"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_child_sees_the_pod(stage: Stage, command: tuple[str, ...]) -> None:
    assert stage.output(*command) == "hello"
