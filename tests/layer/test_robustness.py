"""The layer in programs that are hard on it, and without its session."""

from pathlib import Path

import pytest

from inpod.protocol.layer import File, Request
from tests.fakes.pod import Pod
from tests.layer.conftest import Stage


@pytest.fixture
def pod() -> Pod:
    files = {f"/app/files/{number}": b"content" for number in range(50)}
    return Pod(
        files={"/app/config.yaml": b"hello", "/app/other.yaml": b"other", "/app/script": b"#!/bin/true\n", **files},
        modes={"/app/script": 0o755},
        names={"db": ["10.9.9.9"]},
    )


def test_forks_and_threads_together(stage: Stage) -> None:
    assert stage.output("storm") == "children 0 rounds 0 worked\n"


def test_program_that_closes_every_descriptor(stage: Stage) -> None:
    out = stage.output("close_all_then_read", "/app/config.yaml", "/app/other.yaml")
    assert out == "hello\nother\nothers 1200 changed 0\n"


def test_low_limit_of_descriptors(stage: Stage) -> None:
    assert stage.output("bash", "-c", "ulimit -n 64; cat /app/config.yaml") == "hello"


def test_without_descriptors_left_the_call_fails_as_ever(stage: Stage) -> None:
    script = (
        "import os,resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        "try:\n while True: os.dup(0)\n"
        "except OSError: pass\n"
        "try: open('/app/config.yaml')\n"
        "except OSError as error: print(error.errno in (2, 24))"
    )
    assert stage.output("python3", "-c", script) == "True\n"


@pytest.mark.parametrize(("way", "kib", "path"), [("open", 16, "/app/config.yaml"), ("exec", 32, "/app/script")])
def test_small_stacks_that_are_large_enough(stage: Stage, way: str, kib: int, path: str) -> None:
    """What docs/limits.md says."""
    stage.output("small_stack", way, str(kib << 10), path)


@pytest.mark.parametrize("folder", ["/no/such/folder", "/tmp", ""])
def test_layer_without_a_session_is_inert(stage: Stage, folder: str) -> None:
    done = stage.run("cat", "/app/config.yaml", "/etc/passwd", environment={"INPOD_SESSION": folder})
    assert done.stderr == "cat: /app/config.yaml: No such file or directory\n"
    assert "root:" in done.stdout


def test_program_goes_on_when_the_session_dies(stage: Stage) -> None:
    script = (
        "import sys,socket\n"
        "print(open('/app/config.yaml').read(), flush=True); sys.stdin.readline()\n"
        "try: open('/app/other.yaml')\n"
        "except OSError as error: print(error.strerror)\n"
        "try: socket.getaddrinfo('localhost', 80); print('localhost')\n"
        "except OSError as error: print(error)\n"
        "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); print('connected')\n"
        "import subprocess; subprocess.run(['true'], check=True)"
    )
    process = stage.start("python3", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "hello\n"
    stage.session.die()
    out, err = process.communicate("\n", timeout=20)
    assert (process.returncode, out) == (0, "No such file or directory\nlocalhost\nconnected\n"), err


def test_answer_that_is_no_answer_is_an_absent_layer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for bad in (b"", b"\x01", bytes(4), b"\xff" * 60):

        def answer(request: Request, fd: int, bad: bytes = bad) -> bytes:
            return bad or b"\0"

        monkeypatch.setattr(stage.session, "_answer", answer)
        script = (
            "import socket,os\n"
            "for call in (lambda: socket.getaddrinfo('db', 80), lambda: open('/app/config.yaml'),\n"
            " lambda: socket.create_connection(('127.0.0.1', 1)), lambda: os.stat('/app'), lambda: os.listdir('/app')):\n"
            " try: call()\n"
            " except OSError: print('failed')"
        )
        assert stage.output("python3", "-c", script) == "failed\n" * 5


def test_io_uring_is_not_there(stage: Stage) -> None:
    script = "import ctypes; l = ctypes.CDLL(None, use_errno=True); l.syscall(425, 8, 0); print(ctypes.get_errno())"
    assert stage.output("python3", "-c", script) == "38\n"


def test_path_as_long_as_can_be(stage: Stage, tmp_path: Path) -> None:
    name = "/app" + "/" + "a" * 200
    deep = name * 25
    done = stage.run("stat", deep)
    assert "File name too long" in done.stderr or "No such file" in done.stderr
    assert stage.run("stat", name).returncode == 1
    assert [request.path for request in stage.session.asked(File)][-1] == name.encode()


def test_slow_answer_is_waited_for_through_signals(stage: Stage) -> None:
    script = (
        "import signal\n"
        "ticks = []\n"
        "signal.signal(signal.SIGALRM, lambda *_: ticks.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
        "text = {open(f'/app/files/{n}').read() for n in range(50)}\n"
        "signal.setitimer(signal.ITIMER_REAL, 0); print(text, len(ticks) > 0)"
    )
    assert stage.output("python3", "-c", script) == "{'content'} True\n"
