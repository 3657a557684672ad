"""Unmodified programs stand in a process of this machine that has namespaces of its own, as a pod's have."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix import MATRIX, Program, Remote, check, compile_probes

POD = Path(__file__).with_name("web_pod.py")
NAMESPACES = ["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child"]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled probes."""
    folder = tmp_path_factory.mktemp("probes")
    compile_probes(folder)
    return folder


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
        )
        writer.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="stealing needs root")
@pytest.mark.parametrize("mode", ["mirror", "steal"])
@pytest.mark.parametrize("program", MATRIX, ids=lambda program: program.name)
def test_program_stands_in_a_process(program: Program, mode: str, remote: Remote, build: Path, tmp_path: Path) -> None:
    check(remote, program, mode, build, tmp_path)
