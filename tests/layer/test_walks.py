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


@pytest.fixture
def without_code(pod: Pod, copy: Path) -> None:
    """Without what is this machine's by its full name, by which fts looks: the tracer says so, the layer lists it."""
    del pod.files["/app/conf.d/code.py"]
    (copy / "app/conf.d/code.py").unlink()


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


@pytest.mark.parametrize("walker", ["nftw", "ftw"])
@pytest.mark.parametrize("way_out", ["/app/conf.d/../..", "../.."])
def test_walk_that_leads_out_of_a_folder_of_the_pod(stage: Stage, copy: Path, walker: str, way_out: str) -> None:
    root = f"{copy}/app/conf.d/alone"
    here = stage.output("walk", walker, root)
    there = stage.output("bash", "-c", f"cd /app/conf.d && exec {stage.programs}/walk {walker} {way_out}{root}")
    away = (way_out, os.getcwd(), "/app/conf.d")
    assert without(there, *away) == without(here, *away)


def without(text: str, *parts: str) -> list[str]:
    for part in parts:
        text = text.replace(part, "")
    return sorted(text.splitlines())


def test_walk_ends_where_the_program_says(stage: Stage) -> None:
    out = stage.output("walk", "nftw", "/app/conf.d", "d.txt")
    assert {line.split(maxsplit=2)[2] for line in out.splitlines()} == {f"ended 7 0 {os.getcwd()}"}


def test_folder_that_two_links_lead_to_is_told_once(stage: Stage) -> None:
    stage.pod.files["/app/conf.d/also"] = Link("../other")
    assert stage.output("walk", "ftw", "/app/conf.d").count("f.txt") == 1


def test_folder_of_this_machine_is_walked_by_libc(stage: Stage, copy: Path) -> None:
    assert "f.txt" in stage.output("walk", "nftw", str(copy / "app"))
    assert stage.session.asked(File) == []


@pytest.mark.usefixtures("without_code")
@pytest.mark.parametrize(
    "roots",
    [
        ["/app/conf.d"],
        ["/app/conf.d//"],
        ["/app/conf.d/a.txt", "/app/conf.d/deep", "/app/none"],
        ["/app/conf.d/to-folder", "/app/conf.d/to-nothing"],
    ],
)
def test_fts_by_full_names(stage: Stage, copy: Path, roots: list[str]) -> None:
    here = stage.output("walk", "fts", *(f"{copy}{root}" for root in roots))
    assert stage.output("walk", "fts", *roots) == here.replace(str(copy), "")


@pytest.mark.usefixtures("without_code")
def test_fts_from_a_folder_of_the_pod(stage: Stage, copy: Path) -> None:
    script = f"cd $1/app/conf.d && exec {stage.programs}/walk fts . deep ../other"
    here = stage.output("bash", "-c", script, "bash", str(copy))
    assert stage.output("bash", "-c", script, "bash", "") == here.replace(str(copy), "")


def test_fts_of_folders_here_and_there(stage: Stage, copy: Path) -> None:
    out = stage.output("walk", "fts", str(copy / "app/other"), "/app/other")
    here = [line for line in out.splitlines() if str(copy) in line]
    there = [line for line in out.splitlines() if str(copy) not in line and "ended" not in line]
    assert there == [line.replace(str(copy), "") for line in here]


def test_folder_that_may_not_be_read_is_told_as_such(stage: Stage) -> None:
    stage.pod.modes["/app/conf.d/deep"] = 0o300
    deep = [line for line in stage.output("walk", "nftw", "/app/conf.d").splitlines() if " deep " in line]
    # Where links are followed or not, by depth or not, in place or not.
    assert {line.split()[3] for line in deep} == {"2"}
    assert "/app/conf.d/deep/" not in stage.output("walk", "ftw", "/app/conf.d")
    told = [line.split() for line in stage.output("walk", "fts", "/app/conf.d").splitlines() if " deep " in line]
    assert [words[3] for words in told] == ["1", "4"] * 8
