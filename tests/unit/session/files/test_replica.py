"""The replica on a real file system: complete or marked, and never outside of its root."""

import contextlib
import ctypes
import errno
import os
import stat
import struct
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.protocol.listing import Entry
from inpod.session.files.filling import Overtaken
from inpod.session.files.members import MARK_NS, finish_file, link_text, write_at
from inpod.session.files.replica import Replica

MTIME = 1_500_000_000_123_456_789


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "replica"
    root.mkdir()
    return root


def is_marked(path: Path) -> bool:
    return os.stat(path, follow_symlinks=False).st_atime_ns == MARK_NS


def test_entries_are_there_with_their_attributes(root: Path) -> None:
    replica = Replica(root)
    replica.put(
        [
            (Entry("/srv", "dir", 0o755, mtime_ns=MTIME), None),
            (Entry("/srv/app", "dir", 0o550, mtime_ns=MTIME, is_listed=True), None),
            (Entry("/srv/app/run.sh", "file", 0o755, 5, MTIME, content_bytes=5), b"hello"),
            (Entry("/srv/app/secret", "file", 0o400, 3, MTIME, content_bytes=3), b"abc"),
            (Entry("/srv/app/big", "file", 0o644, 1 << 40, MTIME), None),
            (Entry("/srv/app/link", "link", 0o777, 3, MTIME, target="run.sh"), None),
            (Entry("/srv/app/gone", "missing", errno=errno.EACCES), None),
        ]
    )
    app = root / "srv/app"
    assert (app / "link").read_text() == "hello"
    assert stat.S_IMODE((app / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((app / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(app.stat().st_mode) == 0o750
    for name in ("", "run.sh", "big", "link"):
        assert os.stat(app / name, follow_symlinks=False).st_mtime_ns == MTIME
    assert (app / "big").stat().st_size == 1 << 40
    assert (root / "srv").stat().st_mtime_ns == MTIME
    assert [is_marked(p) for p in (root, root / "srv", app, app / "run.sh", app / "big")] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert sorted(os.listdir(app)) == ["big", "link", "run.sh", "secret"]
    replica.close()


def test_content_comes_into_the_same_inode(root: Path) -> None:
    replica = Replica(root)
    placeholder = Entry("/data/file", "file", 0o640, 6, MTIME)
    replica.put([(placeholder, None)])
    before = (root / "data/file").stat()
    replica.put([(Entry("/data/file", "file", 0o640, 5, MTIME, content_bytes=5), b"12345")])
    after = (root / "data/file").stat()
    assert (root / "data/file").read_text() == "12345"
    assert after.st_ino == before.st_ino
    assert after.st_atime_ns != MARK_NS
    replica.close()


def test_what_is_complete_stays_as_it_is(root: Path) -> None:
    replica = Replica(root)
    replica.put([(Entry("/f", "file", 0o644, 3, MTIME, content_bytes=3), b"old")])
    replica.put([(Entry("/f", "file", 0o644, 3, MTIME, content_bytes=3), b"new")])
    replica.put([(Entry("/f", "link", target="/etc/passwd"), None)])
    assert (root / "f").read_text() == "old"
    assert replica.is_plain_and_complete(b"/f")
    replica.close()


def test_listed_folder_stays_complete_when_it_is_met_again(root: Path) -> None:
    replica = Replica(root)
    replica.put([(Entry("/d", "dir", 0o755, mtime_ns=MTIME, is_listed=True), None)])
    replica.put([(Entry("/d", "dir", 0o755, mtime_ns=MTIME), None)])
    assert replica.is_plain_and_complete(b"/d")
    replica.close()


def test_listed_folder_is_seen_when_all_its_members_are_there(root: Path) -> None:
    replica = Replica(root)
    with replica.filling() as filling:
        filling.put([(Entry("/d", "dir", 0o755, mtime_ns=MTIME, is_listed=True), None)])
        filling.put([(Entry("/d/a", "file", 0o644, 1, MTIME, content_bytes=1), b"a")])
        assert not (root / "d").exists()
        filling.put([(Entry("/d/b", "file", 0o644, 1, MTIME, content_bytes=1), b"b")])
        filling.finish()
    assert (sorted(os.listdir(root / "d")), is_marked(root / "d")) == (["a", "b"], False)


def test_listing_that_breaks_off_shows_nothing(root: Path) -> None:
    replica = Replica(root)
    before = len(os.listdir("/proc/self/fd"))
    with contextlib.suppress(ConnectionError), replica.filling() as filling:
        filling.put([(Entry("/d", "dir", 0o755, mtime_ns=MTIME, is_listed=True), None)])
        filling.put([(Entry("/d/a", "file", 0o644, 1, MTIME, content_bytes=1), b"a")])
        raise ConnectionError
    assert not (root / "d").exists()
    assert len(os.listdir("/proc/self/fd")) == before


def test_folder_of_more_folders_than_there_may_be_descriptors(root: Path) -> None:
    replica = Replica(root)
    with replica.filling() as filling:
        filling.put([(Entry("/d", "dir", 0o755, mtime_ns=MTIME, is_listed=True), None)])
        before = len(os.listdir("/proc/self/fd"))
        for block in range(10):
            names = range(10 * block, 10 * block + 10)
            filling.put([(Entry(f"/d/{name}", "dir", 0o755, mtime_ns=MTIME), None) for name in names])
        assert len(os.listdir("/proc/self/fd")) == before
        filling.finish()
    assert len(os.listdir(root / "d")) == 100
    assert {(is_marked(folder), folder.stat().st_mtime_ns) for folder in (root / "d").iterdir()} == {(True, MTIME)}
    assert (is_marked(root / "d"), (root / "d").stat().st_mtime_ns) == (False, MTIME)


def test_folder_that_another_answer_made_meanwhile_stays(root: Path) -> None:
    replica = Replica(root)
    listing = [
        (Entry("/d", "dir", 0o755, mtime_ns=MTIME, is_listed=True), None),
        (Entry("/d/a", "file", 0o644, 1, MTIME, content_bytes=1), b"a"),
        (Entry("/d/b", "file", 0o644, 1, MTIME, content_bytes=1), b"b"),
    ]
    with replica.filling() as filling:
        filling.put(listing)
        replica.put([(Entry("/d", "dir", 0o755, mtime_ns=MTIME), None), (Entry("/d/a", "file", 0o644, 1, MTIME), None)])
        seen = (root / "d/a").stat().st_ino
        with pytest.raises(Overtaken):
            filling.finish()
    replica.put(listing)
    assert (sorted(os.listdir(root / "d")), is_marked(root / "d")) == (["a", "b"], False)
    assert ((root / "d/a").read_text(), (root / "d/a").stat().st_ino) == ("a", seen)


def test_large_file_is_marked_until_it_is_finished(root: Path) -> None:
    replica = Replica(root)
    entry = Entry("/a/big", "file", 0o600, 100, MTIME)
    fd = replica.begin_file(entry)
    write_at(fd, b"x" * 70, 0)
    assert is_marked(root / "a/big")
    finish_file(fd, entry, 70)
    os.close(fd)
    assert (root / "a/big").read_bytes() == b"x" * 70
    assert not is_marked(root / "a/big")
    assert (root / "a/big").stat().st_mtime_ns == MTIME
    replica.close()


@pytest.mark.parametrize("path", ["relative", "/../up", "/a/../../up", "/a//b", "/a/./b", "/nul\0", "/", ""])
def test_paths_that_lead_elsewhere_are_refused(root: Path, path: str) -> None:
    replica = Replica(root)
    with pytest.raises((OSError, ValueError)):
        replica.put([(Entry(path, "file", 0o644, 1, MTIME, content_bytes=1), b"x")])
    assert not (root.parent / "up").exists()
    replica.close()


def test_changed_file_is_marked_and_the_old_one_stays_open(root: Path) -> None:
    replica = Replica(root)
    replica.put([(Entry("/srv", "dir", 0o755), None), (Entry("/srv/a", "file", 0o644, 3, MTIME), b"old")])
    with (root / "srv/a").open() as opened:
        replica.renew(Entry("/srv/a", "file", 0o600, 9, MTIME + 1))
        assert opened.read() == "old"
    found = (root / "srv/a").stat()
    assert (found.st_size, found.st_mtime_ns, is_marked(root / "srv/a")) == (9, MTIME + 1, True)
    replica.renew(Entry("/srv/a", "missing", errno=errno.ENOENT))
    assert os.listdir(root / "srv") == []
    replica.close()


def test_link_that_leads_elsewhere_is_at_no_time_missing(root: Path) -> None:
    """A volume of Kubernetes changes all its files by one: `..data`."""
    replica = Replica(root)
    replica.put([(Entry("/etc/app", "dir", 0o755), None), (Entry("/etc/app/..data", "link", target="..one"), None)])
    libc = ctypes.CDLL(None)
    events = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(events, os.fsencode(root / "etc/app"), 0x3C0) > 0  # who comes and who goes
    replica.renew(Entry("/etc/app/..data", "link", mtime_ns=MTIME, target="..two"))
    found = os.read(events, 4096)
    os.close(events)
    assert os.readlink(root / "etc/app/..data") == "..two"
    event = struct.Struct("iIII16s")
    assert [(mask, name.rstrip(b"\0")) for _, mask, _, _, name in event.iter_unpack(found)] == [
        (0x80, b"..data")
    ]  # IN_MOVED_TO
    replica.close()


@pytest.mark.parametrize("after", ["file", "link", "dir", "missing", "other"])
@pytest.mark.parametrize("before", ["file", "link", "dir", "missing"])
def test_changes_of_kind(
    root: Path,
    before: Literal["file", "link", "dir", "missing"],
    after: Literal["file", "link", "dir", "missing", "other"],
) -> None:
    replica = Replica(root)
    replica.put([(Entry("/srv", "dir", 0o755), None), (Entry("/srv/a", before, 0o755, target="old"), None)])
    replica.renew(Entry("/srv/a", after, stat.S_IFIFO | 0o600 if after == "other" else 0o700, target="new"))
    there = root / "srv/a"
    if after == "missing":
        assert os.listdir(root / "srv") == []
    else:
        kinds = {"file": stat.S_ISREG, "link": stat.S_ISLNK, "dir": stat.S_ISDIR, "other": stat.S_ISFIFO}
        assert kinds[after](there.lstat().st_mode)
        assert after != "link" or os.readlink(there) == "new"
    replica.close()


def test_changes_where_nobody_has_looked_are_passed_over(root: Path) -> None:
    replica = Replica(root)
    replica.renew(Entry("/srv/deep/a", "file", 0o644, 3, MTIME))
    assert os.listdir(root) == []
    replica.close()


@pytest.mark.parametrize("path", ["/srv/..", "/srv/out/a", "/../outside/a", "srv/a", "/srv/a\0b"])
def test_changes_do_not_lead_out(root: Path, path: str) -> None:
    outside = root.with_name("outside")
    outside.mkdir()
    (outside / "a").write_text("mine")
    replica = Replica(root)
    replica.put([(Entry("/srv", "dir", 0o755), None)])
    (root / "srv/out").symlink_to(outside)
    for entry in (Entry(path, "file", 0o644, 3, MTIME), Entry(path, "missing", errno=errno.ENOENT)):
        with contextlib.suppress(OSError):
            replica.renew(entry)
    assert (outside / "a").read_text() == "mine"
    assert (root / "srv").is_dir()
    replica.close()


def test_links_of_the_agent_are_not_followed_by_writes(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    replica = Replica(root)
    # A link out, as no honest agent makes it: link_text would have kept it inside.
    (root / "out").symlink_to(outside)
    with pytest.raises(OSError, match="Not a directory"):
        replica.put([(Entry("/out/file", "file", 0o644, 1, MTIME, content_bytes=1), b"x")])
    (root / "file").symlink_to(outside / "file")
    with pytest.raises(OSError, match="symbolic links"):
        replica.begin_file(Entry("/file", "file", 0o644, 1, MTIME))
    assert os.listdir(outside) == []
    replica.close()


@pytest.mark.parametrize(
    ("path", "target", "text"),
    [
        (b"/srv/current", b"/srv/app", b"ROOT/srv/app"),
        (b"/srv/app/up", b"../other", b"../other"),
        (b"/srv/app/top", b"../../etc/hosts", b"../../etc/hosts"),
        (b"/srv/app/above", b"../../../../etc/hosts", b"ROOT/etc/hosts"),
        (b"/srv/app/zigzag", b"data/../../x", b"ROOT/srv/x"),
        (b"/link", b"..", b"ROOT/"),
        (b"/link", b"//etc//hosts", b"ROOT/etc/hosts"),
        (b"/cfg/key", b"..data/key", b"..data/key"),
        (b"/cfg/..data", b"..2026_11_23", b"..2026_11_23"),
    ],
)
def test_links_lead_where_they_lead_in_the_pod(path: bytes, target: bytes, text: bytes) -> None:
    assert link_text(b"ROOT", path, target) == text


NAMES = st.lists(st.sampled_from([b"..", b"a", b"b", b".", b"", b"..."]), min_size=1, max_size=8).map(b"/".join)


@given(NAMES, NAMES.filter(lambda t: t != b""))
def test_no_link_leads_out(folder: bytes, target: bytes) -> None:
    path = os.path.normpath(b"/" + folder).lstrip(b"/")
    path = (b"/" + path if path else b"") + b"/link"
    text = link_text(b"/ROOT", path, target)
    reached = os.path.normpath(os.path.join(b"/ROOT" + os.path.dirname(path), text))
    assert reached == b"/ROOT" or reached.startswith(b"/ROOT/")
