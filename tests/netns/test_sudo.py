"""A process of root's as the target of an ordinary user: sudo raises the agent, and nothing else."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.session import ROOT, in_network_of
from tests.netns.test_direct import refusal
from tests.netns.test_session_life import until_gone
from tests.packages import need
from tests.processes import LIMIT_S, end, next_line
from tests.unit.launch.test_job_control import COUNTER, Shell

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes rules for sudo, and an ordinary user of root")

USER, USER_ID = "nobody", 65534
PORT = 8080

ALL = f"{USER} ALL=(root) NOPASSWD: ALL\n"
BY_PTY = f"Defaults use_pty\n{ALL}"
"""As Debian's own file has it: sudo gives the agent a terminal of its own, and stays as its parent."""

AS_USER = f"""
set -e
mount --bind "$1" /etc/sudoers
mount -t tmpfs -o mode=755 kept /mnt
shift
i=0; for tree in $TREES; do i=$((i + 1)); mkdir /mnt/$i; mount --bind "$tree" /mnt/$i; done
for folder in $CLOSED; do mount -t tmpfs -o mode=755 opened "$folder"; done
i=0; for tree in $TREES; do i=$((i + 1)); mkdir -p "$tree"; mount --bind /mnt/$i "$tree"; done
exec setpriv --reuid={USER_ID} --regid={USER_ID} --clear-groups "$@"
"""
"""What follows is run by the user, with the rules of a file for sudo; all of it ends with its mount namespace.

TREES are folders that the user must reach, CLOSED those on the way that let nobody through."""

PROGRAM = f"""
import os, socket
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(status["Uid"].split(), status["Gid"].split(), int(status["CapPrm"], 16), flush=True)
print(open("/srv/app/secret").read(), flush=True)
with socket.create_connection(("10.77.0.1", {ECHO_PORT})) as sock:
    sock.sendall(b"hello")
    print(sock.recv(5).decode(), sock.getsockname()[0], flush=True)
with socket.create_server(("0.0.0.0", {PORT})) as server:
    print("listening", flush=True)
    while True:
        sock, _ = server.accept()
        sock.sendall(b"of user %d" % os.getuid())
        sock.close()
"""

CLIENT = f"import socket; print(socket.create_connection(('10.77.0.1', {PORT}), 5).recv(100).decode())"


def command(rules: Path, target: str, *options: str, program: list[str]) -> list[str]:
    """Return the command of a user's session under these rules."""
    need("sudo")
    before = ["unshare", "--mount", "sh", "-c", AS_USER, "sh", str(rules)]
    inpod = [sys.executable, "-m", "inpod", "exec", "--progress", "off", "-t", target, *options]
    return [*before, *inpod, "--", *program]


def _closed(tree: Path) -> Path | None:
    """Return the first folder on the way that lets nobody through."""
    return next((path for path in reversed([tree, *tree.parents]) if not path.stat().st_mode & 0o001), None)


NEEDED = {tree: _closed(tree) for tree in (Path(sys.base_prefix), Path(sys.prefix), ROOT) if _closed(tree)}
ADDED = {
    "TREES": " ".join(map(str, NEEDED)),
    "CLOSED": " ".join(map(str, set(NEEDED.values()))),
    "HOME": "/nonexistent",
}
"""Variables beside one's own: for AS_USER, and for the user."""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A file for sudo's rules."""
    path = tmp_path / "sudoers"
    path.touch(0o440)
    return path


@contextmanager
def session(rules: Path, pod: Pod) -> Iterator["subprocess.Popen[str]"]:
    """A user's session that steals; its program listens."""
    with subprocess.Popen(
        command(rules, f"pid/{pod.pid}", "--steal", program=[sys.executable, "-c", PROGRAM]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ADDED},
        cwd="/",
    ) as process:
        try:
            yield process
        finally:
            end(process)


def below(pid: int) -> dict[int, str]:
    """Return all processes below one, and their command lines."""
    found: dict[int, str] = {}
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            found |= below(child)
    return found


def user_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


@pytest.mark.parametrize("text", [ALL, BY_PTY], ids=["plain", "use_pty"])
def test_only_the_agent_is_raised(pod: Pod, rules: Path, text: str) -> None:
    rules.write_text(text)
    with session(rules, pod) as process:
        ids = [str(USER_ID)] * 4
        assert next_line(process.stdout) == f"{ids} {ids} 0"
        # Of root's in the pod, for its owner only.
        assert next_line(process.stdout) == "only for the owner"
        assert next_line(process.stdout) == "hello 10.77.0.1"
        assert next_line(process.stdout) == "listening"
        assert in_network_of(pod.pid, CLIENT) == f"of user {USER_ID}\n"
        everyone = below(process.pid)
        agents = [pid for pid, words in everyone.items() if "inpod.agent" in words]
        assert agents
        assert {user_of(pid) for pid in agents} == {0}
        assert {user_of(pid) for pid in everyone if pid not in agents} == {USER_ID}
        assert user_of(process.pid) == USER_ID
    for pid in everyone:
        until_gone(pid)


@pytest.mark.parametrize("text", [ALL, BY_PTY], ids=["plain", "use_pty"])
def test_the_agent_ends_with_a_killed_session(pod: Pod, rules: Path, text: str) -> None:
    rules.write_text(text)
    with session(rules, pod) as process:
        while next_line(process.stdout) != "listening":
            assert process.poll() is None
        everyone = below(process.pid)
        process.kill()
        for pid in everyone:
            until_gone(pid)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("root ALL=(ALL) ALL\n", ExitCode.NO_PERMISSION, "sudo asks for a password. Run 'sudo -v' first"),
        (f"{USER} ALL=(root) ALL\n", ExitCode.NO_PERMISSION, "sudo asks for a password. Run 'sudo -v' first"),
        (f"{USER} ALL=(root) NOPASSWD: /usr/bin/true\n", ExitCode.AGENT_START, "sudo: a password is required"),
        (f"Defaults log_input, use_pty\n{ALL}", ExitCode.AGENT_START, "cannot work"),
    ],
    ids=["no rule", "password", "another command", "log_input"],
)
def test_missing_right_is_one_line(pod: Pod, rules: Path, text: str, code: ExitCode, said: str) -> None:
    rules.write_text(text)
    done = subprocess.run(
        command(rules, f"pid/{pod.pid}", program=["true"]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, **ADDED},
        cwd="/",
    )
    assert said in refusal(done, code)


@pytest.mark.parametrize("text", [ALL, BY_PTY], ids=["plain", "use_pty"])
def test_the_terminal_stays_the_programs(pod: Pod, rules: Path, text: str) -> None:
    rules.write_text(text)
    program = [sys.executable, *shlex.split(COUNTER)]
    script = rules.with_name("run")
    script.write_text(f"exec {shlex.join(command(rules, f'pid/{pod.pid}', program=program))}\n")
    shell = Shell()
    try:
        for name, value in ADDED.items():
            shell.run(f"export {name}={shlex.quote(value)}")
        shell.run("cd /")
        shell.type(f"sh {script}\n")
        shell.expect(r"ready\.")
        shell.type("\x03")
        shell.expect(r"got-SIGINT\.")
        shell.type("\x1a")
        shell.expect("Stopped")
        shell.expect("prompt> ")
        shell.type("fg\n")
        assert "got-" not in shell.expect(r"got-SIGCONT\.")
        shell.type("words\n")
        assert "got-" not in shell.expect(r"read-words\.")
        shell.type("\x04")
        shell.expect("prompt> ")
        assert "icanon-again" in shell.run("stty -a | grep -qw icanon && echo icanon-again")
    finally:
        shell.close()
