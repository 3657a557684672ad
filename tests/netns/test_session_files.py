"""Pod files as a real program reads them."""

import hashlib
import json
import stat
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.netns.conftest import Pod
from tests.netns.pod import BIG_BYTES
from tests.netns.session import line, output_of, python_in, session
from tests.processes import LIMIT_S

pytestmark = pytest.mark.usefixtures("interceptor")

HEAD = """
import errno, hashlib, json, mmap, os, stat, sys, threading
def tell(value): print(json.dumps(value))
def failure(act, *arguments):
    try:
        act(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
"""


def ask(pod: Pod, code: str) -> Any:
    """Return what `code` tells in the pod's place."""
    return json.loads(python_in(f"pid/{pod.pid}", HEAD + code))


def test_content_and_attributes_are_the_pods(pod: Pod) -> None:
    code = """
found = os.stat("/srv/app/config")
tell([open("/srv/app/config").read(), open("/srv/app/secret").read(), found.st_size, found.st_mtime_ns])
"""
    text, secret, size, mtime_ns = ask(pod, code)
    assert (text, secret, size) == ("key: value\n", "only for the owner", 11)
    assert mtime_ns == Path(f"/proc/{pod.pid}/root/srv/app/config").stat().st_mtime_ns


def test_stat_before_open_and_after_is_of_one_file(pod: Pod) -> None:
    code = """
before = os.stat("/srv/app/big")
with open("/srv/app/big", "rb") as file:
    opened, content = os.fstat(file.fileno()), file.read()
tell([os.path.samestat(before, opened), before.st_size, len(content), hashlib.sha256(content).hexdigest()])
"""
    same, size, read, digest = ask(pod, code)
    whole = bytes(range(256)) * (BIG_BYTES // 256)
    assert (same, size, read) == (True, len(whole), len(whole))
    assert digest == hashlib.sha256(whole).hexdigest()


def test_libc_walks_the_whole_tree(pod: Pod) -> None:
    code = """
import ctypes
found = []
visit = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(
    lambda path, facts, kind, at: found.append([path.decode(), kind]) or 0)
FTW_PHYS, FTW_DEPTH = 1, 8
tell([ctypes.CDLL(None).nftw(b"/srv/app", visit, 4, FTW_PHYS | FTW_DEPTH), sorted(found)])
"""
    root = Path(f"/proc/{pod.pid}/root")
    members = [root / "srv/app", *(root / "srv/app").rglob("*")]
    expected = [
        [f"/{path.relative_to(root)}", 4 if path.is_symlink() else 5 if path.is_dir() else 0] for path in members
    ]
    assert ask(pod, code) == [0, sorted(expected)]


def test_threads_never_see_half_a_file(pod: Pod) -> None:
    code = """
sizes = set()
def read():
    with open("/srv/app/big", "rb") as file:
        data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        sizes.add((len(data), hashlib.sha256(data).hexdigest()))
    sizes.add(("config", len(open("/srv/app/config").read())))
    sizes.add(("list", len(os.listdir("/srv/app"))))
threads = [threading.Thread(target=read) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
tell(len(sizes))
"""
    assert ask(pod, code) == 3


def test_threads_that_list_folders_and_look_into_them_agree(pod: Pod) -> None:
    """Listings come bit by bit, and others make the same folders meanwhile."""
    count = 400
    for folder in range(8):
        made = Path(f"/proc/{pod.pid}/root/srv/folders/{folder}")
        made.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            (made / f"{i}").write_text(f"{folder}-{i}")
    code = f"""
wrong, start = [], threading.Barrier(16)
def look(folder, listing):
    start.wait()
    if listing:
        names = os.listdir(f"/srv/folders/{{folder}}")
        if sorted(names, key=int) != [str(i) for i in range({count})]: wrong.append(len(names))
    for i in range({count} - 1, -1, -7):
        if open(f"/srv/folders/{{folder}}/{{i}}").read() != f"{{folder}}-{{i}}": wrong.append((folder, i))
threads = [threading.Thread(target=look, args=(n // 2, n % 2)) for n in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
tell(wrong)
"""
    assert ask(pod, code) == []


def test_two_paths_in_a_folder_that_is_not_there_bring_the_one_above(pod: Pod) -> None:
    """Who looks at the replica sees by it that there is nothing, and need not ask; who waits for one path asks on."""
    code = """
MARK_NS = 1_000_000_001
replica = os.environ["INPOD_SESSION"] + "/replica/srv/app"
complete = []
for name in ("sh", "sh", "cat"):
    failure(open, f"/srv/app/none/deep/{name}")
    complete.append(os.stat(replica).st_atime_ns != MARK_NS)
tell(complete)
"""
    assert ask(pod, code) == [False, False, True]


def test_program_in_a_folder_that_is_not_there_brings_the_one_above(pod: Pod) -> None:
    """It is looked for in all folders of PATH, each time that it is started."""
    code = """
replica = os.environ["INPOD_SESSION"] + "/replica/srv/app"
said = failure(os.execv, "/srv/app/none/deep/sh", ["sh"])
tell([said, os.stat(replica).st_atime_ns != 1_000_000_001])
"""
    assert ask(pod, code) == ["ENOENT", True]


def test_listing_names_everything(pod: Pod) -> None:
    there = sorted(entry.name for entry in Path(f"/proc/{pod.pid}/root/srv/app").iterdir())
    assert ask(pod, 'tell(sorted(os.listdir("/srv/app")))') == there
    assert output_of(f"pid/{pod.pid}", "ls", "/srv/app").split() == there


def test_kinds_are_the_pods(pod: Pod) -> None:
    code = 'tell([stat.S_IFMT(os.lstat("/srv/app/" + n).st_mode) for n in ("pipe", "config", "up", "../app")])'
    assert ask(pod, code) == [stat.S_IFIFO, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR]


def test_tar_finds_no_folder_that_changes_while_it_reads(pod: Pod, tmp_path: Path) -> None:
    archive = str(tmp_path / "archive.tar")
    # Its exit status is 1 if one did: it looks at the ctime.
    with session(f"pid/{pod.pid}", "tar", "-cf", archive, "-C", "/srv", "app", "mounted") as process:
        assert process.wait(LIMIT_S) == 0, process.communicate()
    with tarfile.open(archive) as members:
        content = members.extractfile("app/big")
        assert content is not None
        assert (
            hashlib.sha256(content.read()).digest() == hashlib.sha256(bytes(range(256)) * (BIG_BYTES // 256)).digest()
        )
        assert members.getmember("mounted/inner").size == len("on another mount")


def test_links_lead_where_they_lead_in_the_pod(pod: Pod) -> None:
    code = """
tell([os.readlink("/srv/current"), os.path.realpath("/srv/current/config"), open("/srv/current/config").read(),
      open("/srv/app/up").read()[:9], failure(open, "/srv/app/loop")])
"""
    assert ask(pod, code) == ["/srv/app", "/srv/app/config", "key: value\n", "127.0.0.1", "ELOOP"]


def test_working_directory_of_the_pod(pod: Pod) -> None:
    code = """
os.chdir("/srv/current")
here = os.getcwd()
first = open("config").read()
os.chdir("..")
tell([here, first, os.getcwd(), sorted(os.listdir("."))[:2], failure(open, "nothing")])
"""
    here, first, above, names, missing = ask(pod, code)
    assert here == "/srv/app"
    assert (first, above, missing) == ("key: value\n", "/srv", "ENOENT")
    assert names == ["app", "current"]


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("open, '/srv/app/missing'", "ENOENT"),
        ("os.stat, '/srv/missing/deep/file'", "ENOENT"),
        ("open, '/srv/app/config/below'", "ENOTDIR"),
        ("os.listdir, '/srv/app/config'", "ENOTDIR"),
        ("open, '/srv/app'", "EISDIR"),
        ("os.readlink, '/srv/app/config'", "EINVAL"),
    ],
)
def test_failures_are_the_pods(pod: Pod, act: str, code: str) -> None:
    assert ask(pod, f"tell([failure({act}), failure({act})])") == [code, code]


def test_file_that_appears_is_seen_by_who_waits_for_it(pod: Pod) -> None:
    code = """
import time
end = time.monotonic() + 20
print("waiting", flush=True)
while not os.path.exists("/srv/appears/flag") and time.monotonic() < end:
    time.sleep(0.02)
print(os.path.exists("/srv/appears/flag"))
"""
    folder = Path(f"/proc/{pod.pid}/root/srv/appears")
    folder.mkdir()
    with session(f"pid/{pod.pid}", sys.executable, "-c", HEAD + code) as process:
        assert line(process) == "waiting"
        (folder / "flag").write_text("")
        assert line(process) == "True"
    (folder / "flag").unlink()
    folder.rmdir()


def test_many_small_files_come_in_few_questions(pod: Pod) -> None:
    folder = Path(f"/proc/{pod.pid}/root/srv/many")
    folder.mkdir(exist_ok=True)
    for i in range(500):
        (folder / f"f{i}").write_text(f"content {i}")
    code = """
texts = [open(f"/srv/many/f{i}").read() for i in range(500)]
tell([texts == [f"content {i}" for i in range(500)], len(os.listdir("/srv/many"))])
"""
    assert ask(pod, code) == [True, 500]


def test_writes_stay_here(pod: Pod, tmp_path: Path) -> None:
    target = tmp_path / "written"
    code = f"""
open({str(target)!r}, "w").write("here")
tell([failure(open, "/srv/app/new", "w"), open({str(target)!r}).read()])
"""
    assert ask(pod, code) == ["ENOENT", "here"]
    assert target.read_text() == "here"
    assert not Path(f"/proc/{pod.pid}/root/srv/app/new").exists()
