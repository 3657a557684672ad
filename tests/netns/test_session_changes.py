"""Files that change in the pod while a program of the session reads them."""

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

Ask = Callable[..., object]

PROGRAM = """
import json, os, sys, time
def look(path):
    try:
        if os.path.isdir(path): return sorted(os.listdir(path))
        with open(path) as file: text = file.read()
        return [text, os.stat(path).st_size]
    except OSError as error: return error.errno
for asked in sys.stdin:
    path, before = json.loads(asked)
    end = time.monotonic() + 10
    while (found := look(path)) == before and time.monotonic() < end: time.sleep(0.01)
    print(json.dumps(found), flush=True)
"""
"""Answers with what is at a path, once that is not what it was before."""


@contextmanager
def reader(pod: Pod) -> Iterator[Ask]:
    with session(f"pid/{pod.pid}", sys.executable, "-uc", PROGRAM) as process:

        def ask(path: str, before: object = None) -> object:
            assert process.stdin is not None
            process.stdin.write(json.dumps([path, before]) + "\n")
            found: object = json.loads(line(process))
            return found

        yield ask


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
    with reader(pod) as ask:
        first = ask(in_pod(file))
        assert first == ["one", 3]
        file.write_text("two and more")
        second = ask(in_pod(file), first)
        assert second == ["two and more", 12]
        (folder / "new").write_text("three")
        (folder / "new").rename(file)
        assert ask(in_pod(file), second) == ["three", 5]


def test_members_come_and_go(pod: Pod, folder: Path) -> None:
    (folder / "a").write_text("a")
    with reader(pod) as ask:
        first = ask(in_pod(folder))
        assert first == ["a"]
        (folder / "b").write_text("b")
        second = ask(in_pod(folder), first)
        assert second == ["a", "b"]
        assert ask(in_pod(folder / "b")) == ["b", 1]
        (folder / "a").unlink()
        assert ask(in_pod(folder), second) == ["b"]
        assert ask(in_pod(folder / "a"), None) == 2  # ENOENT
        (folder / "deep").mkdir()
        (folder / "deep/c").write_text("c")
        assert ask(in_pod(folder / "deep/c"), 2) == ["c", 1]


def test_a_config_map_is_swapped(pod: Pod, folder: Path) -> None:
    """As the kubelet does it: a link to a folder is replaced by a rename."""
    for version in ("1", "2"):
        (folder / f"..{version}").mkdir()
        (folder / f"..{version}/key").write_text(f"version {version}")
    (folder / "..data").symlink_to("..1")
    (folder / "key").symlink_to("..data/key")
    with reader(pod) as ask:
        first = ask(in_pod(folder / "key"))
        assert first == ["version 1", 9]
        (folder / "..tmp").symlink_to("..2")
        (folder / "..tmp").rename(folder / "..data")
        assert ask(in_pod(folder / "key"), first) == ["version 2", 9]


def test_kinds_change(pod: Pod, folder: Path) -> None:
    thing = folder / "thing"
    thing.write_text("file")
    with reader(pod) as ask:
        first = ask(in_pod(thing))
        thing.unlink()
        thing.mkdir()
        (thing / "inner").write_text("x")
        second = ask(in_pod(thing), first)
        while second in (2, []):  # between two changes
            second = ask(in_pod(thing), second)
        assert second == ["inner"]
        (thing / "inner").unlink()
        thing.rmdir()
        thing.symlink_to("other")
        (folder / "other").write_text("linked")
        third = ask(in_pod(thing), second)
        while third in (2, []):
            third = ask(in_pod(thing), third)
        assert third == ["linked", 6]
