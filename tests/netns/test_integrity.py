"""100 MiB through every path, both ways, with slow ends: every byte arrives, once, in its place."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.matrix import PROGRAMS, Remote, Running, inpod
from tests.netns.test_matrix import remote as remote  # the fixture

SIZE = 100 * 1024 * 1024
PATTERN = [sys.executable, str(PROGRAMS / "pattern.py")]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")


def in_network_of(remote: Remote) -> list[str]:
    """Return the words that run a program of this machine in the pod's network only."""
    return ["nsenter", "--net", "--target", remote.target.removeprefix("pid/")]


@contextmanager
def running(argv: list[str], tmp_path: Path) -> Iterator[Running]:
    stderr = tmp_path / f"stderr-{len(list(tmp_path.iterdir()))}"
    process = Running.start(argv, dict(os.environ), stderr)
    try:
        yield process
    except BaseException:
        print(stderr.read_text(), file=sys.stderr)
        raise
    finally:
        process.end()


def session(remote: Remote, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    return [*inpod(), "exec", "--target", remote.target, *options, "--", *PATTERN, *words]


def slow(which: str, who: str) -> list[str]:
    return ["slow"] if which == who else []


@pytest.mark.parametrize("which", ["nobody", "program", "pod"])
@pytest.mark.parametrize("way", ["down", "up"])
def test_outgoing_bytes_are_exact(way: str, which: str, remote: Remote, tmp_path: Path) -> None:
    address = [remote.address, "9100"]
    with running([*in_network_of(remote), *PATTERN, "serve", *address, *slow(which, "pod")], tmp_path) as server:
        server.expect("listening")
        with running(session(remote, way, *address, str(SIZE), *slow(which, "program")), tmp_path) as client:
            assert client.expect("ok") == str(SIZE)


@pytest.mark.parametrize("which", ["nobody", "program", "caller"])
@pytest.mark.parametrize("way", ["down", "up"])
def test_stolen_bytes_are_exact(way: str, which: str, remote: Remote, tmp_path: Path) -> None:
    words = ["serve", "0.0.0.0", "8080", *slow(which, "program")]
    with running(session(remote, *words, options=("--steal",)), tmp_path) as program:
        program.expect("listening")
        caller = [*in_network_of(remote), *PATTERN, way, remote.address, "8080", str(SIZE), *slow(which, "caller")]
        done = subprocess.run(caller, capture_output=True, text=True, timeout=90)
        assert done.stdout.strip() == f"ok {SIZE}", done.stderr


@pytest.mark.parametrize("which", ["original", "caller"])
def test_mirrored_bytes_are_exact(which: str, remote: Remote, tmp_path: Path) -> None:
    """At a pace that a copy can follow; what is quicker than the program is cut and counted (test_mirror.py)."""
    address = [remote.address, "9100"]
    with running([*in_network_of(remote), *PATTERN, "serve", *address, *slow(which, "original")], tmp_path) as original:
        original.expect("listening")
        with running(session(remote, "serve", "0.0.0.0", "9100"), tmp_path) as program:
            program.expect("listening")
            caller = [*in_network_of(remote), *PATTERN, "up", *address, str(SIZE), *slow(which, "caller")]
            done = subprocess.run(caller, capture_output=True, text=True, timeout=90)
            assert done.stdout.strip() == f"ok {SIZE}", done.stderr
            assert program.expect("ok") == str(SIZE)


def test_large_file_is_exact(remote: Remote, tmp_path: Path) -> None:
    content = os.urandom(1024 * 1024) * 100
    Path(f"/proc/{remote.target.removeprefix('pid/')}/root/srv/large.bin").write_bytes(content)
    with running(
        [*inpod(), "exec", "--target", remote.target, "--", "sha256sum", "/srv/large.bin"], tmp_path
    ) as program:
        assert program.expect(hashlib.sha256(content).hexdigest()) == "/srv/large.bin"
