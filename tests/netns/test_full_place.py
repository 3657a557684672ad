"""A place for the session's folder without room: the program goes on, or is not begun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.netns.conftest import Pod
from tests.netns.test_last_words import collector
from tests.processes import LIMIT_S, end, next_line

FILL = """
import os, socket
place = os.open("/dev/shm/all-of-it", os.O_CREAT | os.O_WRONLY)
for size in (65536, 1):
    try:
        while os.write(place, bytes(size)):
            pass
    except OSError as error:
        print(error.strerror)
sock = socket.create_connection(("10.77.0.1", 2003))
print(sock.getpeername())
sock.sendall(b"five!")
"""

READ_AND_FILL = """
import itertools, os, sys
print(open("/srv/app/news").read(), flush=True)
try:
    for number in itertools.count():
        os.close(os.open(f"/dev/shm/{number}", os.O_CREAT | os.O_WRONLY))
except OSError as error:
    print(error.strerror, flush=True)
sys.stdin.read()
"""

IN_THE_PLACE = {**os.environ, "TMPDIR": "/dev/shm", "XDG_RUNTIME_DIR": ""}


def with_room(pod: Pod, size: str, program: str, *options: str) -> list[str]:
    """Return what runs a program in the place of the pod; the one place for the session's folder has so much room."""
    mount = f'mount -t tmpfs -o {size} room /dev/shm && exec "$@"'
    inpod = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", *options, "--"]
    return ["unshare", "-m", "sh", "-c", mount, "sh", *inpod, sys.executable, "-c", program]


def run_with_room(pod: Pod, mib: int, *options: str) -> "subprocess.CompletedProcess[str]":
    command = with_room(pod, f"size={mib}m", FILL, *options)
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=IN_THE_PLACE)


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_program_that_fills_the_place_connects_all_the_same(pod: Pod, interceptor: str) -> None:
    with collector(pod) as process:
        done = run_with_room(pod, 32, "--interceptor", interceptor)
        full = os.strerror(28)
        assert (done.stdout.splitlines(), done.returncode) == ([full, full, "('10.77.0.1', 2003)"], 0), done.stderr
        assert next_line(process.stdout) == "5"


def test_place_without_room_is_told(pod: Pod) -> None:
    done = run_with_room(pod, 8)
    assert done.returncode == ExitCode.NO_MEANS
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        "inpod: There is no room for the session's folder in /dev/shm: No space left on device. "
        "Free 11 MiB there, or name a folder with more by TMPDIR."
    )


def test_change_for_which_there_is_no_room_is_told(pod: Pod) -> None:
    news = Path(f"/proc/{pod.pid}/root/srv/app/news")
    news.write_text("old")
    command = with_room(pod, "size=64m,nr_inodes=500", READ_AND_FILL)
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=IN_THE_PLACE) as process:
        try:
            assert next_line(process.stdout) == "old"
            assert next_line(process.stdout) == os.strerror(28)
            news.write_text("new")
            while "news" not in (line := next_line(process.stderr)):
                assert line.startswith("inpod: ")
            assert line == (
                "inpod: /srv/app/news has changed in the pod, and the program sees it as it was (No space left on device): "
                "make room where temporary files are, and run the command again."
            )
        finally:
            end(process)
            news.unlink()
