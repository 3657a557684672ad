"""How sessions begin and end, also when they are killed."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from inpod.session.folder import PREFIX, remove_left_over
from tests.netns.conftest import Pod
from tests.netns.session import in_network_of, line, output_of, session
from tests.processes import LIMIT_S

WAITER = "import os, sys; print(os.environ['INPOD_SESSION'], os.getpid(), flush=True); sys.stdin.read()"


def started(process: "subprocess.Popen[str]") -> tuple[Path, int]:
    """Return the folder of the session, and the process id of its program (WAITER)."""
    folder, pid = line(process).split()
    return Path(folder), int(pid)


def children(pid: int) -> dict[int, str]:
    """Return the children of a process with their command lines."""
    pids = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return {child: Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode() for child in pids}


def until(is_true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def until_gone(pid: int) -> None:
    """Wait for the end of a process that is no child of ours."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], LIMIT_S)[0], f"{pid} lives on"
    finally:
        os.close(fd)


def test_environment_is_the_pods_and_the_machines_own_stays(pod: Pod) -> None:
    code = "import os; print(os.environ['APP_MODE'], os.environ['GREETING'].encode(errors='surrogateescape'))"
    assert output_of(f"pid/{pod.pid}", sys.executable, "-c", code).split() == [
        "remote",
        str("grüß\udcff".encode(errors="surrogateescape")),
    ]


@pytest.mark.parametrize("mode", ["off", "steal"])
def test_end_leaves_nothing(pod: Pod, mode: str) -> None:
    with session(f"pid/{pod.pid}", sys.executable, "-c", WAITER, mode=mode) as process:
        folder, _ = started(process)
        assert folder.stat().st_mode & 0o777 == 0o700
        those = children(process.pid)
        process.communicate("", LIMIT_S)
        assert process.returncode == 0
    assert not folder.exists()
    for pid in those:
        assert not Path(f"/proc/{pid}").exists()


def test_status_and_signal_are_the_programs(pod: Pod) -> None:
    for command, wanted in (("exit 42", 42), ("kill -SEGV $$", -signal.SIGSEGV), ("kill -TERM $$", -signal.SIGTERM)):
        with session(f"pid/{pod.pid}", "sh", "-c", command) as process:
            assert process.wait(LIMIT_S) == wanted


def test_killed_session_takes_everything_along(pod: Pod) -> None:
    with session(f"pid/{pod.pid}", sys.executable, "-c", WAITER) as process:
        folder, program = started(process)
        those = children(process.pid)
        assert program in those
        process.kill()
        for pid in those:
            until_gone(pid)
        until(lambda: not folder.exists(), "the folder is still there")


def test_killed_agent_ends_the_program(pod: Pod) -> None:
    with session(f"pid/{pod.pid}", sys.executable, "-c", WAITER) as process:
        folder, program = started(process)
        agent = next(pid for pid, words in children(process.pid).items() if "inpod.agent" in words)
        os.kill(agent, signal.SIGKILL)
        # The pipes stay open: the program must be ended, not end by itself.
        assert process.wait(LIMIT_S) == ExitCode.AGENT_LOST
        assert process.stderr is not None
        assert "is lost; the program was ended" in process.stderr.read()
    until_gone(program)
    assert not folder.exists()


def test_signal_during_the_start_undoes_it(pod: Pod) -> None:
    with session(f"pid/{pod.pid}", sys.executable, "-c", WAITER) as process:
        assert process.stderr is not None
        assert "Looking for" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        status = process.wait(LIMIT_S)
    assert status == -signal.SIGTERM


@pytest.mark.parametrize(("name", "status"), [("/nowhere/command", 127), ("/etc/passwd", 126)])
def test_command_that_cannot_run(pod: Pod, name: str, status: int) -> None:
    with session(f"pid/{pod.pid}", name) as process:
        _, error = process.communicate(timeout=LIMIT_S)
        assert process.returncode == status
        assert f"Cannot execute '{name}'" in error


def test_missing_ability_is_said_before_the_program_starts(pod: Pod) -> None:
    # A network alone has neither environment nor files; stealing needs rights that are taken away here.
    with subprocess.Popen(
        [
            *("setpriv", "--bounding-set", "-net_admin,-bpf,-sys_admin,-net_raw", "--inh-caps", "-all"),
            *(sys.executable, "-m", "tests.netns.session", f"pid/{os.getpid()}", "steal", "/", "echo", "started"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        out, error = process.communicate(timeout=LIMIT_S)
    assert out == ""
    assert process.returncode in (ExitCode.NO_MEANS, ExitCode.NO_PERMISSION)
    assert error.strip()


def test_folder_of_a_killed_session_is_removed_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / f"{PREFIX}{os.getuid()}-left"
    (left / "replica").mkdir(parents=True)
    other = tmp_path / f"{PREFIX}{os.getuid() + 1}-other"
    other.mkdir()
    remove_left_over(tmp_path)
    assert not left.exists()
    assert other.exists()


def test_lost_agent_is_started_again_and_has_the_ports_again(pod: Pod) -> None:
    server = """
import os, socket
with socket.create_server(("0.0.0.0", 8090)) as listener:
    print("listening", flush=True)
    while True:
        sock, _ = listener.accept()
        name = socket.gethostbyname("api")
        sock.sendall(f"resolved {name}".encode())
        sock.close()
"""
    client = "import socket; print(socket.create_connection(('10.77.0.1', 8090), 5).recv(100).decode())"
    with session(f"again:pid/{pod.pid}", sys.executable, "-c", server, mode="steal") as process:
        assert line(process) == "listening"
        assert in_network_of(pod.pid, client) == "resolved 10.2.0.2\n"
        agent = next(pid for pid, words in children(process.pid).items() if "inpod.agent" in words)
        os.kill(agent, signal.SIGKILL)
        assert process.stderr is not None
        for event in process.stderr:
            if event.startswith("Reconnected"):
                break
        assert in_network_of(pod.pid, client) == "resolved 10.2.0.2\n"
        process.terminate()
        assert process.wait(LIMIT_S) == -signal.SIGTERM
