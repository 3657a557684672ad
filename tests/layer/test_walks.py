"""Folders that libc walks by itself: each walk of the pod is told as one of a copy on this machine.

Under the tracer libc's own functions walk, under the layer ours.
"""

import os
from pathlib import Path

import pytest

from inpod.protocol.layer import File
from tests.fakes.pod import Link, Pod
from tests.layer.conftest import Stage

pytestmark = pytest.mark.parametrize("interceptor", ["layer", "tracer"])

FILES: dict[str, bytes | Link] = {
    "/app/conf.d/a.txt": b"a",
    "/app/conf.d/b.txt": b"bb",
    "/app/conf.d/code.py": b"code",
    "/app/conf.d/deep/c.txt": b"ccc",
    "/app/conf.d/deep/deeper/d.txt": b"dddd",
    "/app/conf.d/alone/inner/e.txt": b"eeeee",
    "/app/conf.d/to-file": Link("a.txt"),
    "/app/conf.d/to-folder": Link("../other"),
    "/app/conf.d/to-itself": Link("."),
    "/app/conf.d/to-nothing": Link("none"),
    "/app/other/f.txt": b"ffffff",
}


@pytest.fixture
def pod() -> Pod:
    return Pod(files=dict(FILES))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pod's files on this machine."""
    for name, content in FILES.items():
        path = tmp_path / "copy" / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.text)
        else:
            path.write_bytes(content)
    return tmp_path / "copy"


@pytest.mark.parametrize("walker", ["nftw", "ftw"])
@pytest.mark.parametrize(
    "root", ["/app/conf.d", "/app/conf.d//", "/app/conf.d/a.txt", "/app/conf.d/to-nothing", "/app/none"]
)
def test_walk_by_a_full_name(stage: Stage, copy: Path, walker: str, root: str) -> None:
    here = stage.run("walk", walker, f"{copy}{root}")
    there = stage.run("walk", walker, root)
    assert (there.returncode, sorted(there.stdout.splitlines())) == (
        here.returncode,
        sorted(here.stdout.replace(str(copy), "").splitlines()),
    )


@pytest.mark.parametrize("walker", ["nftw", "ftw"])
def test_walk_from_a_folder_of_the_pod(stage: Stage, copy: Path, walker: str) -> None:
    for root in (".", "deep", "../conf.d/deep/"):
        script = f"cd $1/app/conf.d && exec {stage.programs}/walk {walker} {root}"
        here = stage.output("bash", "-c", script, "bash", str(copy))
        there = stage.output("bash", "-c", script, "bash", "")
        assert sorted(there.splitlines()) == sorted(here.replace(str(copy), "").splitlines())


def test_walk_ends_where_the_program_says(stage: Stage) -> None:
    out = stage.output("walk", "nftw", "/app/conf.d", "d.txt")
    assert {line.split(maxsplit=2)[2] for line in out.splitlines()} == {f"ended 7 0 {os.getcwd()}"}


def test_folder_that_two_links_lead_to_is_told_once(stage: Stage) -> None:
    stage.pod.files["/app/conf.d/also"] = Link("../other")
    assert stage.output("walk", "ftw", "/app/conf.d").count("f.txt") == 1


def test_folder_of_this_machine_is_walked_by_libc(stage: Stage, copy: Path) -> None:
    assert "f.txt" in stage.output("walk", "nftw", str(copy / "app"))
    assert stage.session.asked(File) == []


def test_fts_walks_the_pod_under_the_tracer_only(stage: Stage, copy: Path, interceptor: str) -> None:
    """The layer does not see its calls (docs/limits.md)."""
    if interceptor == "layer":
        assert stage.output("walk", "fts", "/app/conf.d").startswith("fts 10 ")
        return
    here = stage.output("walk", "fts", f"{copy}/app/conf.d")
    assert stage.output("walk", "fts", "/app/conf.d") == here.replace(str(copy), "")
