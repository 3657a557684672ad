"""Programs that are left alone: they stay on this machine, what they start stands in the pod; under both interceptors."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
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


@pytest.mark.parametrize(("name", "by"), [("chosen", "file"), ("chosen", "argument"), ("gcc", "argument")])
def test_a_skipped_program_is_outside_and_its_children_are_not(
    pod: Pod, tmp_path: Path, interceptor: str, name: str, by: str
) -> None:
    shell = tmp_path / name
    if by == "file":
        shutil.copy(os.path.realpath("/bin/sh"), shell)
    else:
        shell.symlink_to("/bin/sh")
    config: dict[str, object] = {"interceptor": interceptor, "skip_processes": "other;chosen"}
    done = run(pod, tmp_path, config, shell, "-c", SHELL)
    assert done.stdout == "key: value\n", done.stderr
    assert f"{name} itself stays outside the pod" in done.stderr


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
