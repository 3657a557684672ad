"""A place for the session's folder without room: the program goes on, or is not begun."""

import os
import subprocess
import sys

import pytest

from inpod.errors import ExitCode
from tests.netns.conftest import Pod
from tests.netns.test_last_words import collector
from tests.processes import LIMIT_S, next_line

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


def run_with_room(pod: Pod, mib: int, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run FILL in the place of the pod; the one place for the session's folder has so much room."""
    mount = 'mount -t tmpfs -o size="$1"m room /dev/shm && shift && exec "$@"'
    inpod = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", *options, "--"]
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", mount, "sh", str(mib), *inpod, sys.executable, "-c", FILL],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "TMPDIR": "/dev/shm", "XDG_RUNTIME_DIR": ""},
    )


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
