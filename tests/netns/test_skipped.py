"""Programs that are left alone: they stay on this machine, what they start stands in the pod; under both interceptors."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.matrix import PROGRAMS
from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT, HOSTNAME
from tests.netns.session import ROOT
from tests.processes import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

SHELL = "read -r line </srv/app/config && echo itself $line; cat /srv/app/config"
"""The shell reads by itself, then by a child."""

GO = """
package main
import ("fmt"; "net"; "os")
func main() {
    text, err := os.ReadFile("/srv/app/config")
    fmt.Print(string(text), err, "\\n")
    conn, err := net.Dial("tcp", "10.77.0.1:%d")
    if err != nil { fmt.Println(err); return }
    conn.Write([]byte("me?"))
    answer := make([]byte, 3)
    conn.Read(answer)
    fmt.Println(string(answer))
}
"""


@pytest.fixture(params=["layer", "tracer"])
def interceptor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(
    pod: Pod, folder: Path, config: dict[str, object], *command: str | Path, cwd: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    file = folder / "inpod.json"
    file.write_text(json.dumps(config))
    words = ["-t", f"pid/{pod.pid}", "-f", str(file), "--progress", "plain"]
    return subprocess.run(
        [sys.executable, "-m", "inpod", "exec", *words, "--", *command],
        capture_output=True,
        text=True,
        timeout=4 * LIMIT_S,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"},
    )


@pytest.mark.parametrize(
    ("name", "by"), [("chosen", "file"), ("chosen", "link"), ("chosen", "argument"), ("gcc", "argument")]
)
def test_a_skipped_program_is_outside_and_its_children_are_not(
    pod: Pod, tmp_path: Path, interceptor: str, name: str, by: str
) -> None:
    shell = tmp_path / name
    if by == "file":
        shutil.copy(os.path.realpath("/bin/sh"), shell)
    elif by == "link":
        (tmp_path / "inner").mkdir()
        shutil.copy(os.path.realpath("/bin/sh"), tmp_path / "inner" / name)
        (tmp_path / "second").symlink_to(f"inner/{name}")
        shell = tmp_path / "first"
        shell.symlink_to(tmp_path / "second")
    else:
        shell.symlink_to("/bin/sh")
    config: dict[str, object] = {"interceptor": interceptor, "skip_processes": "other;chosen"}
    done = run(pod, tmp_path, config, shell, "-c", SHELL)
    assert done.stdout == "key: value\n", done.stderr
    assert f"{shell.name} itself stays outside the pod" in done.stderr


def test_nothing_is_skipped_where_the_user_says_so(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    shell = tmp_path / "gcc"
    shell.symlink_to("/bin/sh")
    done = run(pod, tmp_path, {"interceptor": interceptor, "skip_build_tools": False}, shell, "-c", SHELL)
    assert done.stdout == "itself key: value\nkey: value\n", done.stderr
    assert "outside the pod" not in done.stderr


def test_go_run_builds_here_and_runs_there(pod: Pod, tmp_path: Path) -> None:
    """Go's tools are static: they are traced, left alone, and the program that they start is not."""
    (tmp_path / "main.go").write_text(GO % ECHO_PORT)
    done = run(pod, tmp_path, {}, "go", "run", "main.go", cwd=tmp_path)
    assert done.stdout == "key: value\n<nil>\nme?\n", done.stderr


@pytest.fixture(scope="module")
def becoming(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one program under two names, of which `chosen` is left alone."""
    folder = tmp_path_factory.mktemp("becoming")
    source = PROGRAMS / "become.c"
    subprocess.run(["gcc", "-O1", "-Wall", "-static", "-pthread", "-o", folder / "plain", source], check=True)
    shutil.copy(folder / "plain", folder / "chosen")
    return folder


@pytest.mark.parametrize("mode", ["read", "local"])
@pytest.mark.parametrize(
    ("steps", "seen"),
    [
        ("look exec chosen look look exec plain look", "pod here here pod"),
        ("look descriptor chosen look descriptor plain look", "pod here pod"),
        ("look thread chosen look thread plain look", "pod here pod"),
        ("look fail look exec chosen look fail look", "pod pod here here"),
        ("look fork exec chosen fork look", "pod pod here here"),
        ("look vfork chosen look exec chosen look vfork plain look", "pod pod here pod here here pod here"),
        ("look number NUMBER exec chosen look number NUMBER", "pod pod here here"),
    ],
    ids=["exec", "descriptor", "thread", "failed", "fork", "vfork", "number"],
)
def test_who_is_left_alone_is_the_program_of_the_moment(
    pod: Pod, tmp_path: Path, becoming: Path, mode: str, steps: str, seen: str
) -> None:
    """Whatever the tracer knows of a process: it may execute another program, and its number may be given again."""
    number = next(pid for pid in range(int(Path("/proc/sys/kernel/pid_max").read_text()) - 1, 0, -1) if is_free(pid))
    files = {"NUMBER": str(number), **{name: str(becoming / name) for name in ("plain", "chosen")}}
    assert looks(pod, tmp_path, becoming, files, steps, mode) == seen


def test_who_is_left_alone_may_lie_where_the_pod_has_files(pod: Pod, tmp_path: Path, becoming: Path) -> None:
    """To execute such a program is to ask who executes it."""
    with tempfile.TemporaryDirectory(prefix="inpod-", dir="/srv") as folder:
        files = {name: f"{folder}/{name}" for name in ("plain", "chosen")}
        for name, file in files.items():
            shutil.copy(becoming / name, file)
        steps, seen = "exec chosen look exec plain look thread chosen look", "here pod here"
        assert looks(pod, tmp_path, becoming, files, steps, "read") == seen


def looks(pod: Pod, folder: Path, becoming: Path, files: dict[str, str], steps: str, mode: str) -> str:
    """Return what programs say that start as `plain`."""
    words = [files.get(step, step) for step in steps.split()]
    config: dict[str, object] = {"interceptor": "tracer", "skip_processes": "chosen", "feature": {"fs": mode}}
    done = run(pod, folder, config, becoming / "plain", *words)
    assert done.returncode == 0, done.stderr
    return " ".join("pod" if name == HOSTNAME else "here" for name in done.stdout.split())


def is_free(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()
