"""A command that only the pod has, by the command line: `inpod exec -t TARGET -- /srv/app/server`."""

import os
import subprocess
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.matrix import PROGRAMS
from tests.netns.conftest import Pod
from tests.netns.test_interceptors import exec_in, inside

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root"),
    pytest.mark.parametrize("interceptor", ["auto", "tracer"]),
]

FOLDER = "/srv/app/programs"


@pytest.fixture(scope="module", autouse=True)
def programs(pod: Pod) -> None:
    """Programs that this machine does not have."""
    folder = Path(f"/proc/{pod.pid}/root{FOLDER}")
    folder.mkdir()
    for name, flags in (("dynamic", ()), ("static", ("-static",))):
        subprocess.run(["gcc", *flags, PROGRAMS / "read_file.c", "-o", folder / name], check=True)
    subprocess.run(["gcc", "-static", PROGRAMS / "print_environment.c", "-o", folder / "environment"], check=True)
    (folder / "script").write_text(f'#!/bin/sh\necho "$0" "$@"; exec {FOLDER}/static /srv/app/config end\n')
    (folder / "script").chmod(0o755)
    (folder / "ends").write_text("#!/bin/sh\nkill -TERM $$\n")
    (folder / "ends").chmod(0o755)
    (folder / "plain").write_text("no program\n")


@pytest.mark.parametrize("name", ["dynamic", "static"])
def test_program_of_the_pod_is_the_command(pod: Pod, interceptor: str, name: str) -> None:
    path = f"{FOLDER}/{name}"
    assert inside(pod, interceptor, path, "/srv/app/config", "a b") == f"{path}\na b\n{path}\nkey: value\n"


def test_script_of_the_pod_is_the_command(pod: Pod, interceptor: str) -> None:
    path = f"{FOLDER}/script"
    said = f"{path} -x  *\n{FOLDER}/static\nend\n{FOLDER}/static\nkey: value\n"
    assert inside(pod, interceptor, path, "-x", "", "*") == said


def test_environment_is_that_of_every_program(pod: Pod, interceptor: str, tmp_path: Path) -> None:
    """Also what no shell has: its variables cannot have such names."""
    subprocess.run(["gcc", "-static", PROGRAMS / "print_environment.c", "-o", tmp_path / "own"], check=True)
    said = [
        inside(pod, interceptor, path, **{"discovery.type": "single-node", "SHLVL": "7"}).splitlines()
        for path in (tmp_path / "own", f"{FOLDER}/environment")
    ]
    own, pods = ({line for line in lines if not line.startswith("INPOD_SESSION=")} for lines in said)
    assert pods == own
    assert "discovery.type=single-node" in pods


def test_status_is_the_programs_own(pod: Pod, interceptor: str) -> None:
    assert exec_in(pod, interceptor, f"{FOLDER}/ends").returncode == -15
    assert exec_in(pod, interceptor, f"{FOLDER}/static", "/srv/app/none", "a").returncode == 2


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("none", ExitCode.COMMAND_NOT_FOUND, "command not found, neither on this machine nor in the pod."),
        ("plain", ExitCode.CANNOT_EXECUTE, "is in the pod, but may not be executed."),
    ],
)
def test_what_the_pod_cannot_execute_either_is_said(
    pod: Pod, interceptor: str, name: str, status: ExitCode, said: str
) -> None:
    done = exec_in(pod, interceptor, f"{FOLDER}/{name}")
    assert (done.returncode, done.stdout) == (status, "")
    assert f"{FOLDER}/{name}: {said}" in done.stderr
