"""`walk`, `look_up` and `contents` on real files: openat2 needs no rights, so the root is a temporary directory."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.agent.files.contents import FileReader
from inpod.agent.files.look_up import look_up
from inpod.agent.files.members import BLOCK_MEMBERS
from inpod.protocol.agent import LookUp, Want
from inpod.protocol.listing import LISTING_BUDGET, SMALL_FILE, Entry, Found, decode_entries


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH)
    yield fd
    os.close(fd)


def blocks(root: int, path: str, want: Want) -> list[bytes]:
    first, members = look_up(root, LookUp(path, want))
    return [first, *(iter(members.read, b"") if members else ())]


def ask(root: int, path: str, want: Want = "stat") -> Found:
    return decode_entries(b"".join(blocks(root, path, want)))


def short(answer: Found) -> list[tuple[str, str]]:
    return [(entry.path, entry.kind) for entry, _ in answer]


def test_names_links_and_directories_on_the_way(tmp_path: Path, root: int) -> None:
    (tmp_path / "x/y").mkdir(parents=True)
    (tmp_path / "x/y/f").write_bytes(b"hello")
    (tmp_path / "abs").symlink_to("/x/y")
    (tmp_path / "x/rel").symlink_to("../abs/./f")
    answer = ask(root, "/x/rel", "read")
    assert short(answer) == [
        ("/x", "dir"),
        ("/x/rel", "link"),
        ("/abs", "link"),
        ("/x/y", "dir"),
        ("/x/y/f", "file"),
    ]
    links = {entry.path: entry.target for entry, _ in answer if entry.kind == "link"}
    assert links == {"/x/rel": "../abs/./f", "/abs": "/x/y"}
    assert answer[-1][1] == b"hello"


def test_lstat_does_not_follow_the_last_link(tmp_path: Path, root: int) -> None:
    (tmp_path / "l").symlink_to("nowhere")
    assert short(ask(root, "/l", "lstat")) == [("/l", "link")]
    assert short(ask(root, "/l", "stat")) == [("/l", "link"), ("/nowhere", "missing")]


@pytest.mark.parametrize("text", ["../../../../../../etc/passwd", "/../../etc/passwd", "/etc/passwd"])
def test_links_out_of_the_root_stay_inside(tmp_path: Path, root: int, text: str) -> None:
    (tmp_path / "l").symlink_to(text)
    answer = ask(root, "/l", "read")
    assert answer[-1][0] == Entry("/etc", "missing", errno=errno.ENOENT)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/none", errno.ENOENT),
        ("/none/below", errno.ENOENT),
        ("/f/below", errno.ENOTDIR),
        ("/f/", errno.ENOTDIR),
        ("/loop", errno.ELOOP),
        ("/loop/below", errno.ELOOP),
        ("/f\0hidden", errno.EINVAL),
        ("/" + "n" * 300, errno.ENAMETOOLONG),
        ("/n" * 2100, errno.ENAMETOOLONG),
    ],
)
def test_failure_is_the_last_entry(tmp_path: Path, root: int, path: str, code: int) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "loop").symlink_to("loop2")
    (tmp_path / "loop2").symlink_to("/loop")
    entry, content = ask(root, path)[-1]
    assert (entry.kind, entry.errno, content) == ("missing", code, None)


def test_links_that_multiply_end(tmp_path: Path, root: int) -> None:
    for i in range(1, 12):
        (tmp_path / f"l{i}").symlink_to(f"l{i - 1}/../l{i - 1}")
    (tmp_path / "l0").mkdir()
    assert ask(root, "/l11")[-1][0].errno == errno.ELOOP


def test_attributes_and_size(tmp_path: Path, root: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    path.chmod(0o4640)
    os.utime(path, ns=(5, 1_600_000_000_123_456_789))
    (entry, content) = ask(root, "/f")[-1]
    assert (entry.mode, entry.size, entry.mtime_ns, entry.uid) == (0o4640, 5, 1_600_000_000_123_456_789, os.getuid())
    assert (entry.content_bytes, content) == (-1, None)


def test_root_itself(root: int) -> None:
    assert short(ask(root, "/", "stat")) == [("/", "dir")]
    assert short(ask(root, "/../..", "stat")) == [("/", "dir")]


def test_names_that_are_not_utf8_travel(tmp_path: Path, root: int) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe")).write_bytes(b"x")
    answer = ask(root, "/", "list")
    assert [os.fsencode(entry.path) for entry, _ in answer] == [b"/", b"/\xff\xfe"]
    assert ask(root, answer[1][0].path, "read")[-1][1] == b"x"


def test_listing_brings_attributes_and_small_contents(tmp_path: Path, root: int) -> None:
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/small").write_bytes(b"s")
    (tmp_path / "d/empty").touch()
    (tmp_path / "d/limit").write_bytes(b"l" * SMALL_FILE)
    (tmp_path / "d/big").write_bytes(b"b" * (SMALL_FILE + 1))
    (tmp_path / "d/link").symlink_to("small")
    os.mkfifo(tmp_path / "d/pipe")
    answer = ask(root, "/d", "list")
    head, members = answer[0][0], {entry.path: (entry, content) for entry, content in answer[1:]}
    assert (head.path, head.is_listed) == ("/d", True)
    assert {path: content if content is None else len(content) for path, (_, content) in members.items()} == {
        "/d/sub": None,
        "/d/small": 1,
        "/d/empty": 0,
        "/d/limit": SMALL_FILE,
        "/d/big": None,
        "/d/link": None,
        "/d/pipe": None,
    }
    assert members["/d/link"][0].target == "small"
    assert members["/d/pipe"][0].kind == "other"
    assert members["/d/big"][0].size == SMALL_FILE + 1


def test_listing_comes_in_blocks_and_leaves_nothing_open(tmp_path: Path, root: int) -> None:
    for i in range(BLOCK_MEMBERS + 1):
        (tmp_path / f"{i}").write_bytes(b"%d" % i)
    before = len(os.listdir("/proc/self/fd"))
    answer = [decode_entries(block) for block in blocks(root, "/", "list")]
    assert [len(block) for block in answer] == [1, BLOCK_MEMBERS, 1]
    assert {(e.path, content) for block in answer[1:] for e, content in block} == {
        (f"/{i}", b"%d" % i) for i in range(BLOCK_MEMBERS + 1)
    }
    look_up(root, LookUp("/", "list"))  # and nobody reads its members
    assert len(os.listdir("/proc/self/fd")) == before


def test_listing_of_a_folder_whose_members_went_goes_on(tmp_path: Path, root: int) -> None:
    for i in range(3 * BLOCK_MEMBERS):
        (tmp_path / f"{i}").touch()
    _, members = look_up(root, LookUp("/", "list"))
    assert members is not None
    for i in range(3 * BLOCK_MEMBERS - 1):
        (tmp_path / f"{i}").unlink()
    found = decode_entries(b"".join(iter(members.read, b"")))
    assert [entry.path for entry, _ in found] == [f"/{3 * BLOCK_MEMBERS - 1}"]


def test_listing_keeps_its_budget(tmp_path: Path, root: int) -> None:
    count = LISTING_BUDGET // SMALL_FILE + 5
    for i in range(count):
        (tmp_path / f"f{i:03}").write_bytes(bytes([i % 256]) * SMALL_FILE)
    answer = ask(root, "/", "list")
    assert len(answer) == count + 1
    contents = {entry.path: content for entry, content in answer if content is not None}
    assert len(contents) == LISTING_BUDGET // SMALL_FILE
    assert all(content == bytes([int(path[2:]) % 256]) * SMALL_FILE for path, content in contents.items())


@pytest.mark.parametrize("want", ["stat", "read", "list"])
def test_pipes_are_seen_and_not_opened(tmp_path: Path, root: int, want: Want) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert short(ask(root, "/pipe", want)) == [("/pipe", "other")]
    assert ("/pipe", "other") in short(ask(root, "/", "list"))
    # A reader would make this succeed.
    with pytest.raises(OSError, match="No such device"):
        os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)


def test_reader_refuses_what_is_no_regular_file(tmp_path: Path, root: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, code in ((b"/pipe", errno.ENXIO), (b"/", errno.EISDIR), (b"/none", errno.ENOENT)):
        with pytest.raises(OSError, match=re.escape(os.strerror(code))):
            FileReader(root, path)


def read_all(reader: FileReader) -> bytes:
    data = b""
    while chunk := reader.read():
        data += chunk
    reader.close()
    return data


def test_reader_ends_where_the_file_ended_when_opened(tmp_path: Path, root: int) -> None:
    (tmp_path / "log").write_bytes(b"a" * 300_000)
    reader = FileReader(root, b"/log")
    with (tmp_path / "log").open("ab") as file:
        file.write(b"later")
    assert read_all(reader) == b"a" * 300_000


def test_file_that_shrinks_is_as_short_as_it_became(tmp_path: Path, root: int) -> None:
    (tmp_path / "f").write_bytes(b"a" * 600_000)
    reader = FileReader(root, b"/f")
    first = reader.read()
    os.truncate(tmp_path / "f", 400_000)
    assert len(first) + len(read_all(reader)) == 400_000


def test_holes_are_zeros(tmp_path: Path, root: int) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1_000_000)
        file.seek(500_000)
        file.write(b"x")
    assert read_all(FileReader(root, b"/sparse")) == (tmp_path / "sparse").read_bytes()


@pytest.fixture
def proc() -> Iterator[int]:
    fd = os.open("/proc", os.O_PATH)
    yield fd
    os.close(fd)


def test_pseudo_files_are_read_although_their_size_is_zero(proc: int) -> None:
    (entry, content) = ask(proc, "/version", "read")[-1]
    assert content == Path("/proc/version").read_bytes()
    assert entry.size == len(content)
    assert read_all(FileReader(proc, b"/version")) == content


def test_listing_of_pseudo_files_reads_none(proc: int) -> None:
    answer = ask(proc, "/sys/kernel", "list")
    assert any(entry.path == "/sys/kernel/ostype" for entry, _ in answer)
    assert all(content is None for _, content in answer)
