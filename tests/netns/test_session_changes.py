"""Files that change in the pod while a program of the session reads them."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.session import line, session

pytestmark = pytest.mark.usefixtures("interceptor")

Eventually = Callable[[Path, object], None]

PROGRAM = """
import json, os, sys, time
def look(path):
    try:
        if os.path.isdir(path): return sorted(os.listdir(path))
        with open(path) as file: text = file.read()
        return [text, os.stat(path).st_size]
    except OSError as error: return error.errno
for asked in sys.stdin:
    path, wanted, wait = json.loads(asked)
    end = time.monotonic() + wait
    while (found := look(path)) != wanted and time.monotonic() < end: time.sleep(0.01)
    print(json.dumps(found), flush=True)
"""
"""Answers with what is at a path, as soon as it is what is wanted: a change of many steps is seen at any of them."""


@contextmanager
def reader(pod: Pod) -> Iterator[Eventually]:
    with session(f"pid/{pod.pid}", sys.executable, "-uc", PROGRAM) as process:

        def eventually(path: Path, wanted: object) -> None:
            assert process.stdin is not None
            process.stdin.write(json.dumps([in_pod(path), wanted, 30]) + "\n")
            assert json.loads(line(process)) == wanted

        yield eventually


@pytest.fixture
def folder(pod: Pod) -> Path:
    """A folder of the pod that nobody has seen, as this machine names it."""
    made = Path(f"/proc/{pod.pid}/root/srv/changes-{os.urandom(4).hex()}")
    made.mkdir()
    return made


def in_pod(path: Path) -> str:
    return "/" + str(path).split("/root/", 1)[1]


def test_a_written_file_is_read_anew(pod: Pod, folder: Path) -> None:
    file = folder / "file"
    file.write_text("one")
    with reader(pod) as eventually:
        eventually(file, ["one", 3])
        file.write_text("two and more")
        eventually(file, ["two and more", 12])
        (folder / "new").write_text("three")
        (folder / "new").rename(file)
        eventually(file, ["three", 5])


def test_members_come_and_go(pod: Pod, folder: Path) -> None:
    (folder / "a").write_text("a")
    with reader(pod) as eventually:
        eventually(folder, ["a"])
        (folder / "b").write_text("b")
        eventually(folder, ["a", "b"])
        eventually(folder / "b", ["b", 1])
        (folder / "a").unlink()
        eventually(folder, ["b"])
        eventually(folder / "a", errno.ENOENT)
        (folder / "deep").mkdir()
        (folder / "deep/c").write_text("c")
        eventually(folder / "deep/c", ["c", 1])


def test_a_config_map_is_swapped(pod: Pod, folder: Path) -> None:
    """As the kubelet does it: a link to a folder is replaced by a rename."""
    for version in ("1", "2"):
        (folder / f"..{version}").mkdir()
        (folder / f"..{version}/key").write_text(f"version {version}")
    (folder / "..data").symlink_to("..1")
    (folder / "key").symlink_to("..data/key")
    with reader(pod) as eventually:
        eventually(folder / "key", ["version 1", 9])
        (folder / "..tmp").symlink_to("..2")
        (folder / "..tmp").rename(folder / "..data")
        eventually(folder / "key", ["version 2", 9])


def test_kinds_change(pod: Pod, folder: Path) -> None:
    thing = folder / "thing"
    thing.write_text("file")
    with reader(pod) as eventually:
        eventually(thing, ["file", 4])
        thing.unlink()
        thing.mkdir()
        (thing / "inner").write_text("x")
        eventually(thing, ["inner"])
        (thing / "inner").unlink()
        thing.rmdir()
        thing.symlink_to("other")
        (folder / "other").write_text("linked")
        eventually(thing, ["linked", 6])
