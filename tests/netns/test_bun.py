"""Bun, which the layer cannot be in though it is linked dynamically, stands in the pod."""

import os
import subprocess
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.netns.bun import binary
from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.test_interceptors import exec_in, inside
from tests.packages import need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

PROGRAM = f"""
import {{ readdirSync, readFileSync }} from "fs";
console.log(readFileSync("/srv/app/config", "utf8").trim(), readdirSync("/srv/mounted").join());
Bun.connect({{ hostname: "10.77.0.1", port: {ECHO_PORT}, socket: {{
    open(socket) {{ socket.write("hello"); }},
    data(socket, data) {{ console.log(data.toString(), socket.remoteAddress, process.env.APP_MODE); process.exit(0); }},
}} }});
"""

SEEN = "key: value inner\nhello 10.77.0.1 remote\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script of Bun's."""
    need("npm")
    path = tmp_path_factory.mktemp("bun") / "program.ts"
    path.write_text(PROGRAM)
    return path


def test_bun_has_files_and_network_of_the_pod(pod: Pod, program: Path) -> None:
    assert inside(pod, "auto", binary(), program) == SEEN


def test_bun_that_a_shell_starts_has_them_too(pod: Pod, program: Path) -> None:
    assert inside(pod, "auto", "sh", "-c", f"{binary()} {program}; :") == SEEN


def test_what_bun_compiles_has_them_too(pod: Pod, program: Path, tmp_path: Path) -> None:
    compiled = tmp_path / "compiled"
    subprocess.run([binary(), "build", "--compile", "--outfile", compiled, program], check=True, capture_output=True)
    assert inside(pod, "auto", compiled) == SEEN


def test_the_layer_is_refused(pod: Pod, program: Path) -> None:
    done = exec_in(pod, "layer", binary(), program)
    assert done.returncode == ExitCode.NOT_INTERCEPTABLE
    assert "a program of Bun's: the layer cannot be in it" in done.stderr
