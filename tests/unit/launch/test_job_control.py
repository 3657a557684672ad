"""Terminal and job control, as a developer sees them: a real `bash -i` on a pseudo terminal."""

import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_S = 20
BESIDE = Path(__file__).with_name("beside.py")

COUNTER = f"{Path(__file__).with_name('says_signals.py')} SIGINT SIGCONT SIGTERM"


class Shell:
    """A `bash -i` with a terminal of its own."""

    def __init__(self) -> None:
        self.pid, self.master = os.forkpty()
        if self.pid == 0:
            os.environ |= {"PS1": "prompt> ", "TERM": "dumb"}
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.seen = ""
        self.expect("prompt> ")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str) -> str:
        """Wait for output that matches; forget it and what was before it."""
        end = time.monotonic() + LIMIT_S
        while (found := re.search(pattern, self.seen)) is None:
            ready, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.seen!r}"
            self.seen += os.read(self.master, 4096).decode(errors="replace")
        before, self.seen = self.seen[: found.start()], self.seen[found.end() :]
        return before

    def run(self, command: str) -> str:
        """Run a shell command at the prompt and return its output."""
        self.type(f"{command}; echo done-$?-\n")
        output = self.expect(r"done-\d+-")
        self.expect("prompt> ")
        return output.partition("\n")[2]  # the terminal's echo comes first

    def close(self) -> None:
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.master)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell() -> Iterator[Shell]:
    shell = Shell()
    yield shell
    shell.close()


@pytest.fixture
def counter(tmp_path: Path) -> str:
    """Return a command line that runs COUNTER beside inpod's process code."""
    return f"{sys.executable} {BESIDE} {tmp_path} {sys.executable} {COUNTER}"


def test_control_c_reaches_the_program_once(shell: Shell, counter: str) -> None:
    shell.type(f"{counter}\n")
    shell.expect(r"ready\.")
    for _ in range(3):
        shell.type("\x03")
        shell.expect(r"got-SIGINT\.")
    shell.type("\x04")
    rest = shell.expect("prompt> ")
    assert "got-" not in rest


def test_default_control_c_ends_as_natively(shell: Shell, tmp_path: Path) -> None:
    # The statuses that bash sees, and that a list is ended by the interrupt, are those of a plain sleep.
    for command in ("sleep 600", f"{sys.executable} {BESIDE} {tmp_path} sleep 600"):
        shell.type(f"({command}; echo not''reached); echo status-$?-\n")
        shell.expect("reached")
        until_sleeps(shell.pid)
        shell.type("\x03")
        assert "notreached" not in shell.expect("prompt> ")
    shell.type("echo status-$?-\n")
    shell.expect("status-130-")


def test_control_z_stops_and_fg_continues(shell: Shell, counter: str) -> None:
    shell.type(f"{counter}\n")
    shell.expect(r"ready\.")
    for _ in range(2):
        shell.type("\x1a")
        shell.expect(r"Stopped")
        shell.expect("prompt> ")
        assert "Stopped" in shell.run("jobs")
        shell.type("fg\n")
        before = shell.expect(r"got-SIGCONT\.")
        assert "got-" not in before
        shell.type("words\n")
        rest = shell.expect(r"read-words\.")
        assert "got-" not in rest
    shell.type("\x04")
    shell.expect("prompt> ")
    assert shell.run("jobs").strip() == ""


def test_background_program_that_reads_stops_until_fg(shell: Shell, counter: str) -> None:
    shell.type(f"{counter} &\n")
    shell.expect(r"ready\.")
    # Reading from the background: SIGTTIN.
    shell.type("wait -n; jobs\n")
    shell.expect(r"Stopped")
    shell.expect("prompt> ")
    shell.type("fg\n")
    shell.expect(r"got-SIGCONT\.")
    shell.type("words\n")
    shell.expect(r"read-words\.")
    shell.type("\x03")
    shell.expect(r"got-SIGINT\.")
    shell.type("\x04")
    shell.expect("prompt> ")


def test_running_background_program_gets_the_terminal_by_fg(shell: Shell, tmp_path: Path) -> None:
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    program = f"read x < {fifo}; echo passed-gate.; read y; echo read-$y."
    shell.type(f"{sys.executable} {BESIDE} {tmp_path} bash -c '{program}' &\n")
    shell.expect(r"program \d+")
    shell.type("fg\n")
    shell.expect(re.escape("read-$y"))
    fifo.write_text("go\n")
    shell.expect(r"passed-gate\.")
    shell.type("words\n")
    shell.expect(r"read-words\.")
    shell.expect("prompt> ")


def test_bg_continues_without_the_terminal(shell: Shell, counter: str, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    os.mkfifo(silent)
    shell.type(f"exec 9<>{silent}; {counter} <&9\n")
    shell.expect(r"ready\.")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.expect("prompt> ")
    shell.type("bg\n")
    shell.expect(r"got-SIGCONT\.")
    assert "hello" in shell.run("echo hello")
    shell.type("kill %1\n")
    shell.expect(r"got-SIGTERM\.")
    shell.type("kill -9 %1; wait %1\n")
    shell.expect("Killed")


def test_pipeline_keeps_the_terminal_for_all(shell: Shell, tmp_path: Path) -> None:
    # The reader at the end takes from the terminal, as `less` does.
    reader = "while read -r line; do echo piped-$line.; done; read -r typed < /dev/tty; echo typed-$typed."
    shell.type(f"{sys.executable} {BESIDE} {tmp_path} echo out 2>/dev/null | bash -c '{reader}'\n")
    shell.expect(r"piped-out\.")
    shell.type("words\n")
    shell.expect(r"typed-words\.")
    shell.expect("prompt> ")


def test_control_c_in_a_script_reaches_script_and_program_once(shell: Shell, counter: str, tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text(f"trap 'echo script-INT.' INT\n{counter}\necho script-goes-on.\n")
    shell.type(f"bash {script}\n")
    shell.expect(r"ready\.")
    shell.type("\x03")
    shell.expect(r"got-SIGINT\.")
    shell.type("\x04")
    rest = shell.expect(r"script-goes-on\.")
    assert "got-" not in rest
    assert "script-INT." in rest
    shell.expect("prompt> ")


def test_control_z_in_a_pipeline_stops_all_and_fg_continues(shell: Shell, counter: str) -> None:
    shell.type(f"{counter} | cat\n")
    shell.expect(r"ready\.")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.expect("prompt> ")
    shell.type("fg\n")
    shell.expect(r"got-SIGCONT\.")
    shell.type("words\n")
    rest = shell.expect(r"read-words\.")
    assert "got-" not in rest
    shell.type("\x04")
    shell.expect("prompt> ")


WITHOUT_LEADER = """
import ctypes, os, sys, threading, time
def say():
    while open(f"/proc/{os.getpid()}/stat").read().rpartition(")")[2].split()[0] != "Z":
        pass
    print("ready.", flush=True)
    for line in sys.stdin:
        print(f"read-{line.strip()}.", flush=True)
    os._exit(0)
threading.Thread(target=say).start()
EXIT = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
ctypes.CDLL(None).syscall(EXIT, 0)
"""
"""Its first thread ends alone (pthread_exit(3)): of that the kernel keeps a zombie until all have ended."""


def test_control_z_stops_a_program_whose_first_thread_has_ended(shell: Shell, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WITHOUT_LEADER)
    shell.type(f"{sys.executable} {BESIDE} {tmp_path} {sys.executable} {program} | cat\n")
    shell.expect(r"ready\.")
    shell.type("\x1a")
    shell.expect("Stopped")
    shell.expect("prompt> ")
    shell.type("fg\n")
    shell.expect(r"\| cat")
    shell.type("words\n")
    shell.expect(r"read-words\.")
    shell.type("\x04")
    shell.expect("prompt> ")


def test_pipeline_goes_on_with_a_program_that_ignores_control_z(shell: Shell, tmp_path: Path) -> None:
    # The other one does too, so that no job is seen stopped, and none continued: if inpod stopped, it would not end.
    answer = "trap '' TSTP; echo ready.; while read -r line; do echo read-\\$line.; done"
    shell.type(f"{sys.executable} {BESIDE} {tmp_path} bash -c \"{answer}\" | (trap '' TSTP; cat)\n")
    shell.expect(r"ready\.\r")
    shell.type("\x1a")
    shell.type("words\n")
    shell.expect(r"read-words\.")
    shell.type("\x04")
    shell.expect("prompt> ")
    assert shell.run("jobs").strip() == ""


def until_sleeps(shell_pid: int) -> None:
    """Wait until a `sleep` runs somewhere below the shell."""
    end = time.monotonic() + LIMIT_S
    while True:
        if any(name == "sleep" for name in names_below(shell_pid)):
            return
        assert time.monotonic() < end
        time.sleep(0.01)


def names_below(pid: int) -> list[str]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [Path(f"/proc/{pid}/comm").read_text().strip(), *(n for c in children for n in names_below(int(c)))]
    except OSError:
        return []
