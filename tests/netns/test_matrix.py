"""Unmodified programs stand in a process of this machine that has namespaces of its own, as a pod's have."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.matrix import MATRIX, Program, Remote, check, inpod
from tests.processes import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

POD = Path(__file__).with_name("web_pod.py")
NAMESPACES = ["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child"]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where probes are compiled."""
    return tmp_path_factory.mktemp("probes")


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    """A pod with a web service, as a target by its process."""
    root = tmp_path / "root"
    root.mkdir()
    values = {"POD_NAME": "web-0", "POD_MENU": "soup", "POD_ORDERS": "two orders", "GREETING": "hello from the pod"}
    command = ["unshare", *NAMESPACES, sys.executable, "-I", str(POD), str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=values) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reader, writer = process.stdout, process.stdin

        def ask(path: str) -> tuple[str, str]:
            writer.write(f"get {path}\n")
            writer.flush()
            answer = json.loads(reader.readline())
            return answer["body"], answer["peer"].rpartition(":")[0]

        assert reader.readline() == "ready\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Remote(
            target=f"pid/{children[0]}",
            ask=ask,
            greeting="hello from the pod",
            file="/srv/menu.txt",
            file_text="soup",
            beside="menu.txt",
            url="http://orders:9000/today",
            url_text="two orders /today",
            port=8080,
            original="the pod web-0 answers",
            address="10.77.0.2",
            hostname="web-0",
        )
        writer.close()


CELLS = [
    pytest.param(program, interceptor, id=f"{program.name}-{interceptor}")
    for program in MATRIX
    for interceptor in ("layer", "tracer")
    if interceptor == "tracer" or not program.is_beyond_layer
]


@pytest.mark.parametrize("mode", ["mirror", "steal"])
@pytest.mark.parametrize(("program", "interceptor"), CELLS)
def test_program_stands_in_a_process(
    program: Program, interceptor: str, mode: str, remote: Remote, build: Path, tmp_path: Path
) -> None:
    check(remote, program, mode, build, tmp_path, interceptor=interceptor)


@pytest.mark.parametrize("program", [each for each in MATRIX if each.is_beyond_layer], ids=lambda each: each.name)
def test_the_layer_is_refused_where_it_cannot_be(program: Program, remote: Remote, build: Path) -> None:
    """The cells that are not in the matrix."""
    options = ["--target", remote.target, "--interceptor", "layer"]
    command = [*inpod(), "exec", *options, "--", *program.make(build)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, done.stdout) == (ExitCode.NOT_INTERCEPTABLE, "")
    assert "the layer cannot be in it" in done.stderr
