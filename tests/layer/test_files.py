"""What programs see of the pod's files."""

import os
import subprocess
from pathlib import Path

import pytest

from inpod.protocol.layer import File, Want
from tests.fakes.pod import MTIME_NS, Link, Pod
from tests.layer.conftest import Stage
from tests.packages import need

MTIME_S = MTIME_NS // 1_000_000_000

pytestmark = pytest.mark.parametrize("interceptor", ["layer", "tracer"])


@pytest.fixture
def pod() -> Pod:
    return Pod(
        files={
            "/app/config.yaml": b"hello",
            "/app/conf.d/a.txt": b"a",
            "/app/conf.d/b.txt": b"bb",
            "/app/conf.d/deep/c.txt": b"ccc",
            "/app/to-file": Link("config.yaml"),
            "/app/to-data": Link("/data/real.txt"),
            "/app/to-nowhere": Link("/data/none"),
            "/app/to-folder": Link("conf.d"),
            "/data/real.txt": b"real!",
            "/etc/hosts": b"10.1.2.3 pod\n",
            "/app/code.py": b"pod's code",
            "/app/tell": b"#!/bin/sh\necho $0 $*\n",
        },
        modes={"/app/tell": 0o755},
    )


def lines(text: str) -> dict[str, str]:
    """Return the lines of a program by their first word; of several, all values joined."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        found[word] = f"{found[word]},{rest}" if word in found else rest
    return found


def test_every_call_sees_a_file_of_the_pod(stage: Stage) -> None:
    found = lines(stage.output("look_at_path", "/app/config.yaml"))
    seen = f"file 5 {MTIME_S}"
    assert found == {
        "stat": seen,
        "lstat": seen,
        "fstatat": seen,
        "fstatat-nofollow": seen,
        "xstat": seen,
        "lxstat": seen,
        "fxstatat": seen,
        "inotify": "ok",
        "statx": "ok",
        "statvfs": "ok",
        "access": "ok",
        "faccessat": "ok",
        "eaccess": "ok",
        "ftok": "ok",
        "scandirat": "ENOTDIR",
        "access-missing": "ENOENT",
        "readlink": "EINVAL",
        "readlink-short": "EINVAL",
        "realpath": "/app/config.yaml",
        "canonicalize": "/app/config.yaml",
        "open": "hello",
        "openat": "hello",
        "syscall-openat": "hello",
        "fopen": "hello",
        "freopen": "ok",
        "mmap": "hello",
        "opendir": "ENOTDIR",
        "scandir": "ENOTDIR",
        "glob": "/app/config.yaml",
        "getxattr": "ENODATA",
        "llistxattr": "ok",
        "open-to-write": "ENOENT",
    }


def test_every_call_sees_a_directory_of_the_pod(stage: Stage) -> None:
    found = lines(stage.output("look_at_path", "/app/conf.d"))
    assert found["stat"] == f"dir 0 {MTIME_S}"
    assert found["scandir"] == ".,..,a.txt,b.txt,deep"
    assert found["opendir"] == found["scandirat"] == "ok"
    assert found["open"] == "EISDIR"
    assert found["realpath"] == "/app/conf.d"


def test_links_lead_where_they_lead_in_the_pod(stage: Stage) -> None:
    found = lines(stage.output("look_at_path", "/app/to-data"))
    assert found["lstat"].startswith("link")
    assert found["stat"] == f"file 5 {MTIME_S}"
    assert found["readlink"] == "/data/real.txt"
    assert found["readlink-short"] == "/data"
    assert found["realpath"] == "/data/real.txt"
    assert found["open"] == "real!"
    relative = lines(stage.output("look_at_path", "/app/to-file"))
    assert relative["realpath"] == "/app/config.yaml"
    assert relative["open"] == "hello"


def test_dangling_link_is_there_and_leads_nowhere(stage: Stage) -> None:
    # Its folder is complete: the link must still be followed by the pod, not by the replica.
    stage.output("ls", "/app")
    found = lines(stage.output("look_at_path", "/app/to-nowhere"))
    assert found["lstat"].startswith("link")
    assert found["stat"] == found["open"] == found["fopen"] == found["realpath"] == "ENOENT"


def test_link_to_what_is_not_fetched_yet_is_followed(stage: Stage) -> None:
    stage.output("ls", "/app")
    assert stage.output("cat", "/app/to-data") == "real!"


def test_path_through_a_link_to_a_folder(stage: Stage) -> None:
    assert stage.output("cat", "/app/to-folder/b.txt") == "bb"
    assert stage.output("realpath", "/app/to-folder/deep/c.txt") == "/app/conf.d/deep/c.txt\n"
    assert lines(stage.output("look_at_path", "/app/to-folder/"))["lstat"] == f"dir 0 {MTIME_S}"


def test_missing_path_is_asked_once_where_its_folder_is_complete(stage: Stage) -> None:
    stage.output("ls", "/app")
    before = len(stage.session.asked(File))
    assert stage.run("cat", "/app/none").returncode == 1
    assert len(stage.session.asked(File)) == before


def test_missing_folder_is_known_where_the_one_above_is_complete(stage: Stage) -> None:
    stage.output("ls", "/app")
    before = len(stage.session.asked(File))
    assert stage.run("cat", "/app/none/deeper/file").returncode == 1
    assert len(stage.session.asked(File)) == before


def test_folder_behind_a_link_that_leads_nowhere_yet_is_asked_for(stage: Stage) -> None:
    stage.session.pod.files |= {"/app/to-other": Link("/other/deep"), "/other/deep/below/file": b"far"}
    stage.output("ls", "/app")
    assert stage.output("cat", "/app/to-other/below/file") == "far"


def test_file_is_asked_for_once(stage: Stage) -> None:
    for _ in range(3):
        assert stage.output("cat", "/app/config.yaml") == "hello"
    assert stage.session.asked(File) == [File(Want.READ, b"/app/config.yaml")]


def test_stat_does_not_fetch_content(stage: Stage) -> None:
    assert stage.output("stat", "-Lc", "%s", "/app/config.yaml") == "5\n"
    assert stage.session.asked(File) == [File(Want.STAT, b"/app/config.yaml")]


def test_local_paths_are_never_asked_for(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    assert stage.output("cat", str(tmp_path / "mine")) == "mine"
    assert stage.run("ls", "/usr", "/etc/passwd", "/app/code.py").returncode == 2
    assert stage.session.asked(File) == []


def test_program_stands_in_a_directory_of_the_pod(stage: Stage) -> None:
    found = lines(stage.output("stand_in_directory", "/app/conf.d", "b.txt"))
    assert found == {
        "getcwd": "/app/conf.d",
        "getcwd-malloc": "/app/conf.d",
        "getcwd-small": "ERANGE",
        "get_current_dir_name": "/app/conf.d",
        "open": "bb",
        "stat": "0 2",
        "openat": "bb",
        "realpath": "/app/conf.d/b.txt",
        "realpath-dot": "/app/conf.d",
        "members": "3",
        "missing": "ENOENT",
        "out": "ENOENT",
        "local-by-steps-up": "0",
        # Writing is this machine's affair, which has no /app.
        "create": "ENOENT",
        "up": "/app",
    }
    assert not list(stage.session.folder.glob("replica/**/made-here"))


@pytest.mark.parametrize("flags", ["O_PATH", "O_RDONLY"])
def test_paths_below_a_descriptor_of_a_directory(stage: Stage, flags: str) -> None:
    found = lines(stage.output("below_descriptor", flags))
    assert found == {
        "openat": "hello",
        "fstatat": "2",
        "statx": "2",
        "faccessat": "0",
        "readlinkat": "config.yaml",
        "members": "code.py,conf.d,config.yaml,tell,to-data,to-file,to-folder,to-nowhere",
        "deep": "c.txt",
        "up": "a",
        "opened-again": "real!",
        "fchdir": "/app/conf.d",
        "by-name": "bb",
        "parent": "hello",
        "execveat": "/app/tell word",
        "out": "ENOENT",
    }


def test_shell_walks_through_the_pod_and_back(stage: Stage) -> None:
    script = "cd /app/conf.d && pwd -P && cat a.txt && cd deep && cat c.txt ../b.txt && cd / && pwd -P && ls -d usr"
    assert stage.output("bash", "-c", script) == "/app/conf.d\nacccbb/\nusr\n"


def test_child_inherits_a_working_directory_of_the_pod(stage: Stage) -> None:
    assert (
        stage.output("bash", "-c", "cd /app/conf.d && cat a.txt && /bin/pwd && env -i cat b.txt") == "a/app/conf.d\nbb"
    )


def test_find_sees_the_whole_tree(stage: Stage) -> None:
    found = stage.output("find", "/app", "-type", "f").split()
    assert sorted(found) == [
        "/app/code.py",
        "/app/conf.d/a.txt",
        "/app/conf.d/b.txt",
        "/app/conf.d/deep/c.txt",
        "/app/config.yaml",
        "/app/tell",
    ]


def test_recursive_tools_read_the_contents(stage: Stage, tmp_path: Path) -> None:
    assert stage.output("grep", "-r", "ccc", "/app/conf.d") == "/app/conf.d/deep/c.txt:ccc\n"
    stage.output("cp", "-r", "/app/conf.d", str(tmp_path / "copy"))
    assert (tmp_path / "copy" / "deep" / "c.txt").read_bytes() == b"ccc"
    stage.output("tar", "-C", "/app", "-cf", str(tmp_path / "all.tar"), "conf.d")
    assert stage.output("tar", "-tf", str(tmp_path / "all.tar")).count("txt") == 3


def test_long_listing_is_quiet(stage: Stage) -> None:
    done = stage.run("ls", "-la", "/app/conf.d/")
    assert (done.returncode, done.stderr) == (0, "")


def test_names_of_program_code_are_this_machines_by_full_name_and_the_pods_in_its_folder(stage: Stage) -> None:
    """An interpreter that looks for a module by its full name is to find this machine's, or none (docs/limits.md)."""
    done = stage.run("bash", "-c", "ls -l /app; cat /app/code.py")
    assert done.stderr.count("No such file") == 2
    done = stage.run("bash", "-c", "cd /app && ls -l && cat code.py && stat -c %s ./code.py")
    assert (done.returncode, done.stderr, done.stdout.endswith("pod's code10\n")) == (0, "", True)


def test_pod_view_of_the_network_files(stage: Stage) -> None:
    assert stage.output("cat", "/etc/hosts") == "10.1.2.3 pod\n"


def test_large_file_is_whole(stage: Stage) -> None:
    stage.pod.files["/app/large"] = os.urandom(8 << 20)
    script = "import sys,hashlib; print(hashlib.sha256(open('/app/large','rb').read()).hexdigest())"
    import hashlib

    content = stage.pod.files["/app/large"]
    assert isinstance(content, bytes)
    assert stage.output("python3", "-c", script).strip() == hashlib.sha256(content).hexdigest()


def test_file_is_written_on_this_machine(stage: Stage, tmp_path: Path) -> None:
    stage.output("bash", "-c", f"cat /app/config.yaml > {tmp_path}/out")
    assert (tmp_path / "out").read_text() == "hello"


def test_symlink_loop_is_the_pods(stage: Stage) -> None:
    stage.pod.files["/app/loop"] = Link("loop")
    done = stage.run("cat", "/app/loop")
    assert "Too many levels" in done.stderr


def test_child_begins_where_posix_spawn_is_told(stage: Stage) -> None:
    """Its folder and its standard input are the pod's: libc goes there in the child, by calls of its own."""
    assert stage.output("spawn_actions", "/app/conf.d", "b.txt", "/app/config.yaml") == "hellobb"
    assert stage.output("spawn_actions", "/app/conf.d", "../config.yaml", "/app/conf.d/a.txt") == "ahello"
    for folder, file in (("/app/none", "/app/config.yaml"), ("/app/conf.d", "/app/none")):
        assert stage.run("spawn_actions", folder, "b.txt", file).stdout == "ENOENT\n"


def test_child_begins_in_folders_of_this_machine(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "name").write_text("here")
    assert stage.output("spawn_actions", tmp_path, "name", tmp_path / "name") == "herehere"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/app/conf.d/*.txt", "/app/conf.d/a.txt /app/conf.d/b.txt"),
        ("first /app/conf.d/[b-z]* last", "first /app/conf.d/b.txt /app/conf.d/deep last"),
        (
            "/app/*/deep/?.txt /app/to-f*",
            "/app/conf.d/deep/c.txt /app/to-folder/deep/c.txt /app/to-file /app/to-folder",
        ),
        ("/app/conf.d/none* /app/none/*", "/app/conf.d/none* /app/none/*"),
        ("/app/config.yaml", "/app/config.yaml"),
        ("'/app/conf.d/*' x", "/app/conf.d/* x"),
        ("/et[c]/host[n]ame", "/etc/hostname"),
    ],
)
def test_words_are_expanded_in_the_pod(stage: Stage, text: str, words: str) -> None:
    assert stage.output("expand", text) == f"{words}\n"


def test_words_are_expanded_where_the_program_stands(stage: Stage, tmp_path: Path) -> None:
    assert stage.output("expand", "/app", "c*/*.txt") == "conf.d/a.txt conf.d/b.txt\n"
    (tmp_path / "here").touch()
    assert stage.output("expand", tmp_path, f"h* {tmp_path}/h*") == f"here {tmp_path}/here\n"
    assert stage.run("expand", "a;b").stdout == "error 2\n"


def test_catalogue_of_messages(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("$set 1\n1 of the pod\n")
    subprocess.run([need("gencat"), tmp_path / "made", tmp_path / "text"], check=True)
    stage.pod.files["/app/messages.cat"] = (tmp_path / "made").read_bytes()
    assert stage.output("catalogue", "/app/messages.cat") == "of the pod\n"
    assert stage.output("catalogue", tmp_path / "made") == "of the pod\n"
    assert stage.output("catalogue", "/app/none.cat") == stage.output("catalogue", "none") == "none\n"


def test_path_of_any_bytes(stage: Stage) -> None:
    stage.pod.files["/app/sp ace/ü\n"] = b"odd"
    assert stage.output("cat", "/app/sp ace/ü\n") == "odd"


def test_way_to_a_mount_of_the_pod_is_there_name_by_name(stage: Stage) -> None:
    """As Node's realpath goes it. A folder that this machine has stays its own."""
    folder = f"/run/inpod-test-{os.getpid()}"
    stage.pod.files |= {f"{folder}/secrets/app/token": b"t", f"{folder}/beside": b"b", "/run/of-the-pod": b"p"}
    stage.session.add_rule(f"remote-tree\t{folder}/secrets/app")
    script = (
        "import os, pathlib, sys\n"
        "folder = sys.argv[1]\n"
        "print(pathlib.Path(folder, 'secrets/app/token').resolve(strict=True))\n"
        "print(sorted(os.listdir(folder)), os.path.exists(folder + '/beside'), os.path.exists('/run/of-the-pod'))\n"
    )
    told = stage.output("python3", "-c", script, folder)
    assert told == f"{folder}/secrets/app/token\n['beside', 'secrets'] False False\n"
