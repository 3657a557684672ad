"""The program's signals, status, descriptors and end, as its parent and its killer see them."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import LIMIT_S, next_line

BESIDE = str(Path(__file__).with_name("beside.py"))

COUNTER = [
    sys.executable,
    str(Path(__file__).with_name("says_signals.py")),
    *("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"),
]

WITH_CORES = "r.setrlimit(r.RLIMIT_CORE, (r.getrlimit(r.RLIMIT_CORE)[1],) * 2)"


@contextmanager
def beside(
    folder: Path, *command: str, stdin: int | None = subprocess.PIPE, pass_fds: Sequence[int] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """Run `command` beside inpod's own process code."""
    with subprocess.Popen(
        [sys.executable, BESIDE, str(folder), *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        pass_fds=pass_fds,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    return next_line(process.stdout)


def program_pid(process: "subprocess.Popen[str]") -> int:
    return int(next_line(process.stderr).removeprefix("program "))


def until_gone(pid: int) -> None:
    """Wait until a process that is not ours has ended."""
    with contextlib.suppress(ProcessLookupError):
        fd = os.pidfd_open(pid)
        try:
            assert select.select([fd], [], [], LIMIT_S)[0], f"{pid} lives on"
        finally:
            os.close(fd)


def until_removed(folder: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while folder.exists():
        assert time.monotonic() < end, "the folder is still there"
        time.sleep(0.01)


@pytest.mark.parametrize("status", [0, 1, 7, 255])
def test_exit_status_is_the_programs(tmp_path: Path, status: int) -> None:
    with beside(tmp_path, "sh", "-c", f"exit {status}") as process:
        assert process.wait(LIMIT_S) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGINT, signal.SIGPIPE])
def test_death_by_signal_is_death_by_the_same_signal(tmp_path: Path, number: signal.Signals) -> None:
    with beside(tmp_path, "sh", "-c", f"kill -{number.value} $$") as process:
        assert process.wait(LIMIT_S) == -number


def test_each_signal_reaches_the_program_once(tmp_path: Path) -> None:
    with beside(tmp_path, *COUNTER) as process:
        assert line(process) == "ready."
        for name in ("SIGTERM", "SIGUSR1", "SIGINT", "SIGHUP", "SIGUSR2", "SIGQUIT", "SIGTERM"):
            process.send_signal(signal.Signals[name])
            assert line(process) == f"got-{name}."
        out, _ = process.communicate("", LIMIT_S)
        assert out == ""
        assert process.returncode == 0


WORKER = """
import os, signal
numbers, told = {signal.SIGTERM, signal.SIGWINCH}, 0
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
child = os.fork()
os.write(1, b"ready\\n")
while signal.sigwait(numbers) == signal.SIGTERM and not child:
    told += 1
if not child:
    os._exit(told)
os.kill(child, signal.SIGWINCH)
print("worker was told", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""A server that ends its worker by a signal of its own, which says how often it was told before."""


def test_signal_is_for_the_program_itself_and_not_its_workers(tmp_path: Path) -> None:
    with beside(tmp_path, sys.executable, "-c", WORKER) as process:
        assert [line(process), line(process)] == ["ready", "ready"]
        process.terminate()
        assert line(process) == "worker was told 0"
        assert process.wait(LIMIT_S) == 0


def test_program_that_dies_of_a_signal_takes_its_group_along(tmp_path: Path) -> None:
    with beside(tmp_path, "sh", "-c", "sleep 600 & echo $!; wait; exit 3") as process:
        child = int(line(process))
        process.terminate()
        assert process.wait(LIMIT_S) == -signal.SIGTERM
        until_gone(child)


def test_signal_that_was_ignored_at_the_start_reaches_who_handles_it(tmp_path: Path) -> None:
    """A script's `inpod … &` begins with SIGINT ignored."""
    command = f'trap "" INT HUP; exec {sys.executable} {BESIDE} {tmp_path} "$@"'
    with subprocess.Popen(
        ["sh", "-c", command, "sh", *COUNTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert line(process) == "ready."
        for name in ("SIGINT", "SIGHUP", "SIGTERM"):
            process.send_signal(signal.Signals[name])
            assert line(process) == f"got-{name}."
        process.communicate("", LIMIT_S)
        assert process.returncode == 0


def test_exit_status_is_told_where_children_are_ignored(tmp_path: Path) -> None:
    """Who starts inpod may have no interest in how its own children end: the kernel forgets it of ours, too."""
    command = f'trap "" CHLD; exec {sys.executable} {BESIDE} {tmp_path} sh -c "exit 7"'
    assert subprocess.run(["bash", "-c", command], stderr=subprocess.DEVNULL, timeout=LIMIT_S).returncode == 7


def test_ignored_signals_stay_ignored_and_others_have_their_default(tmp_path: Path) -> None:
    report = "import signal; print([s.name for s in signal.Signals if signal.getsignal(s) is signal.SIG_IGN])"
    native = subprocess.check_output(
        ["bash", "-c", f'trap "" HUP USR1 CHLD; exec {sys.executable} -c "{report}"'], text=True
    )
    command = f'trap "" HUP USR1 CHLD; exec {sys.executable} {BESIDE} {tmp_path} {sys.executable} -c "{report}"'
    ours = subprocess.check_output(["bash", "-c", command], text=True, stderr=subprocess.DEVNULL)
    assert ours == native
    assert "SIGHUP" in ours
    assert "SIGCHLD" in ours


def test_program_has_the_descriptors_limits_and_mask_that_inpod_was_given(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    report = (
        "ls /proc/self/fd | tr '\\n' ' '; umask; pwd; ulimit -a; "
        "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status | grep -v Q"
    )
    try:
        command = ["bash", "-c", report]
        native = subprocess.check_output(command, pass_fds=[write], text=True, stdin=subprocess.DEVNULL)
        with beside(tmp_path, *command, pass_fds=[write], stdin=subprocess.DEVNULL) as process:
            out, _ = process.communicate(timeout=LIMIT_S)
    finally:
        os.close(read)
        os.close(write)
    assert out == native


KILLED_AT_ONCE = """
import asyncio, os, signal, subprocess, sys
from pathlib import Path
from inpod.launch.guardian import Guardian
from inpod.launch.process import start
guardian, really_start = Guardian(Path(sys.argv[1])), subprocess.Popen
def start_and_die(*args, **options):
    really_start(*args, **options)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
subprocess.Popen = start_and_die
environment = os.environ | {"INPOD_SESSION": sys.argv[1]}
async def main():
    start("/bin/sh", ["sh", "-c", "sleep 600 & echo $!; wait"], environment, guardian)
asyncio.run(main())
"""
"""Is killed, when it is told so, before it has taken a step beside its program."""


def test_inpod_killed_in_the_moment_of_the_start_takes_the_programs_children_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_AT_ONCE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        child = int(line(process))
        process.communicate("die\n", LIMIT_S)
        assert process.returncode == -signal.SIGKILL
        until_gone(child)


ENDED_UNSEEN = """
import asyncio, os, sys, threading
from pathlib import Path
from inpod.launch.guardian import Guardian
from inpod.launch.process import start
async def main():
    guardian = Guardian(Path(sys.argv[1]))
    process = start("/bin/sh", ["sh", "-c", "exit 3"], os.environ, guardian)
    for thread in threading.enumerate():
        if thread.name == "program":
            thread.join()
    print(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0], await process.wait())
    process.close()
    guardian.let_go()
asyncio.run(main())
"""
"""Hears of the end of its program late."""


def test_number_of_a_program_is_nobody_elses_until_inpod_has_heard_of_its_end(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENDED_UNSEEN, str(tmp_path)]
    assert subprocess.check_output(command, text=True, timeout=LIMIT_S) == "Z 3\n"


def test_killed_inpod_takes_program_its_children_and_folder_along(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "secret").write_text("of the pod")
    # One child in the program's group, without the session's variables, and one in a session of its own, with them.
    script = "env -i sleep 600 & echo $!; setsid sh -c 'echo $$; exec sleep 600' & wait"
    with beside(folder, "sh", "-c", script) as process:
        pids = [program_pid(process), int(line(process)), int(line(process))]
        process.kill()
        for pid in pids:
            until_gone(pid)
        until_removed(folder)


def test_ended_program_leaves_its_background_children_alone(tmp_path: Path) -> None:
    with beside(tmp_path, "sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!") as process:
        child = int(line(process))
        try:
            assert process.wait(LIMIT_S) == 0
            os.kill(child, 0)
        finally:
            os.kill(child, signal.SIGKILL)


def test_command_that_cannot_run_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "session"
    folder.mkdir()
    file = tmp_path / "text"
    file.write_text("no program")
    with beside(folder, str(file)) as process:
        _, error = process.communicate(timeout=LIMIT_S)
    assert "PermissionError" in error
    assert folder.exists()


def test_no_core_is_written_for_inpod() -> None:
    # Only the program's own core counts: the same signal ends inpod, too.
    code = "import signal; from inpod.launch.process import end_like; end_like(-signal.SIGABRT)"
    process = subprocess.Popen([sys.executable, "-c", f"import resource as r; {WITH_CORES}; {code}"])
    _, status = os.waitpid(process.pid, 0)
    process.returncode = 0
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
