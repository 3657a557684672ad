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


def test_a_folder_that_was_not_there_comes(pod: Pod, folder: Path) -> None:
    """What is above it is complete by then: the program has looked in it again and again."""
    with reader(pod) as eventually:
        for name in ("a", "b", "a"):
            eventually(folder / "below/deep" / name, errno.ENOENT)
        (folder / "below/deep").mkdir(parents=True)
        (folder / "below/deep/a").write_text("a")
        eventually(folder / "below/deep/a", ["a", 1])


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


def test_a_folder_is_swapped(pod: Pod, folder: Path) -> None:
    """As a deployment does it: the new one is moved to where the old one was."""
    for version in ("1", "2"):
        (folder / version / "deep").mkdir(parents=True)
        (folder / version / "deep/file").write_text(f"version {version}")
    now = folder / "now"
    (folder / "1").rename(now)
    with reader(pod) as eventually:
        eventually(now / "deep/file", ["version 1", 9])
        eventually(now / "deep", ["file"])
        now.rename(folder / "old")
        (folder / "2").rename(now)
        eventually(now / "deep/file", ["version 2", 9])
        (now / "deep/file").write_text("later")
        eventually(now / "deep/file", ["later", 5])
        (now / "deep/more").write_text("more")
        eventually(now / "deep", ["file", "more"])
        # Over one that is empty, and known to be.
        (folder / "empty").mkdir()
        eventually(folder / "empty", [])
        now.rename(folder / "empty")
        eventually(folder / "empty/deep", ["file", "more"])


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


WATCHER = """
import ctypes, os, struct, sys
libc, folder = ctypes.CDLL(None, use_errno=True), sys.argv[1].encode()
fd = libc.inotify_init1(0)
# Of a file: IN_ATTRIB, IN_DELETE_SELF; of a folder: IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO.
file = libc.inotify_add_watch(fd, folder + b"/file", 0x4 | 0x400)
members = libc.inotify_add_watch(fd, folder, 0x100 | 0x200 | 0x40 | 0x80)
assert file > 0 and members > 0 and file != members
assert libc.inotify_add_watch(fd, folder + b"/none", 0x4) == -1 and ctypes.get_errno() == 2
# What is fetched is no change.
assert sorted(os.listdir(folder)) == [b"file", b"gone"] and open(folder + b"/file").read() == "one"
print("watching", flush=True)
while True:
    data, at = os.read(fd, 4096), 0
    while at < len(data):
        number, mask, _, length = struct.unpack_from("iIII", data, at)
        name = data[at + 16:at + 16 + length].rstrip(b"\\0").decode()
        print("file" if number == file else "folder", hex(mask), name, flush=True)
        at += 16 + length
"""


def come(folder: Path, name: str, text: str) -> None:
    """Make a file in one step: a write is several changes."""
    made = folder.with_name(f"{folder.name}-{name}")
    made.write_text(text)
    made.rename(folder / name)


def test_a_program_watches_files_of_the_pod(pod: Pod, folder: Path) -> None:
    (folder / "file").write_text("one")
    (folder / "gone").write_text("gone")
    with session(f"pid/{pod.pid}", sys.executable, "-uc", WATCHER, in_pod(folder)) as process:
        assert line(process) == "watching"
        come(folder, "file", "two")
        # The replica's file is replaced by a new one; an open descriptor keeps the old one.
        assert [line(process) for _ in range(4)] == ["folder 0x80 file", "file 0x4 ", "file 0x400 ", "file 0x8000 "]
        come(folder, "came", "new")
        assert line(process) == "folder 0x80 came"
        (folder / "gone").unlink()
        assert line(process) == "folder 0x40 gone"
