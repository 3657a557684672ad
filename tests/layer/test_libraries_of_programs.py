"""Libraries that a program opens by itself."""

import subprocess
from pathlib import Path

import pytest

from tests.fakes.pod import Pod
from tests.layer.conftest import PROGRAMS, Stage

pytestmark = pytest.mark.parametrize("interceptor", ["layer", "tracer"])


@pytest.fixture
def pod() -> Pod:
    return Pod(files={"/app/config.yaml": b"hello"})


def test_library_that_binds_to_its_own_needs_first_stands_in_the_pod(stage: Stage, tmp_path: Path) -> None:
    """As PHP's extensions do; and it is found where the program says."""
    source = PROGRAMS / "deep_library.c"
    library = ["gcc", "-Wall", "-shared", "-fPIC", "-DLIBRARY", "-o", str(tmp_path / "libdeep.so"), str(source)]
    subprocess.run(library, check=True)
    subprocess.run(["gcc", "-Wall", "-o", tmp_path / "program", source, "-Wl,-rpath,$ORIGIN"], check=True)
    assert stage.output(tmp_path / "program", "/app/config.yaml") == "h\n"
