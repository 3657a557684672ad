"""Processes and network namespaces of this machine as targets of `inpod exec`."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from inpod.targets.direct import DirectTarget
from inpod.targets.spec import ProcessTarget, parse_target
from tests.netns.conftest import Pod, running_pod
from tests.netns.pod import ECHO_PORT

LIMIT_S = 60
EXEC = [sys.executable, "-m", "inpod", "exec", "--progress", "off"]
AS_USER = ["/usr/bin/unshare", "--user", "--map-user=1000", "--map-group=1000"]
"""What follows runs without any right: to it, it is user 1000."""

CONNECT = f"""
import socket
sock = socket.create_connection(("10.77.0.1", {ECHO_PORT}))
sock.sendall(b"hello")
print(sock.recv(5).decode(), *sock.getsockname())
"""


def run(
    target: str, *command: str, before: tuple[str, ...] = (), options: tuple[str, ...] = (), **changes: str
) -> "subprocess.CompletedProcess[str]":
    """Run `inpod exec` for `target`."""
    environment = {**os.environ, **changes}
    argv = [*before, *EXEC, "-t", target, *options, "--", *command]
    return subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, env=environment)


def refusal(done: "subprocess.CompletedProcess[str]", code: ExitCode) -> str:
    """Return the one line that was said."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("inpod: ")
    return done.stderr


@pytest.fixture
def other_pod(tmp_path: Path) -> Iterator[Pod]:
    """A pod with a network and a user namespace of its own."""
    with running_pod(tmp_path, in_user_namespace=True) as pod:
        yield pod


IN_OWN_POD = """
import subprocess, sys
from pathlib import Path
from tests.netns.conftest import running_pod
with running_pod(Path(sys.argv[1])) as pod:
    sys.exit(subprocess.run([word.replace("POD", str(pod.pid)) for word in sys.argv[2:]]).returncode)
"""
"""Run as an ordinary user: makes a pod, and runs a command with POD replaced by its process."""


def run_in_own_pod(root: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `inpod exec` as an ordinary user who has a pod of his own."""
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    argv = [*AS_USER, sys.executable, "-c", IN_OWN_POD, str(root), *EXEC, *words]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, env=environment)


def test_environment_file_and_network_of_a_process(pod: Pod) -> None:
    code = f"import os; print(os.environ['APP_MODE'], open('/srv/app/config').read().strip())\n{CONNECT}"
    done = run(f"pid/{pod.pid}", sys.executable, "-c", code)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first == "remote key: value"
    assert second.startswith("hello 10.77.0.1 ")


def test_a_command_in_any_folder_of_path_is_found(pod: Pod) -> None:
    # Not below /tmp, which is this machine's for every session.
    with tempfile.TemporaryDirectory(dir="/srv") as folder:
        tool = Path(folder) / "tool"
        tool.write_text("#!/bin/sh\necho here; cat /srv/app/config\n")
        tool.chmod(0o755)
        done = run(f"pid/{pod.pid}", "sh", "-c", "cd / && tool", PATH=f"{os.environ['PATH']}:{folder}")
    assert (done.stderr, done.stdout) == ("", "here\nkey: value\n")


def test_a_network_namespace_gives_network_only(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("of this machine")
    code = f"{CONNECT}\nimport os; print(os.environ.get('APP_MODE')); print(open({str(tmp_path / 'here')!r}).read())"
    done = run(f"netns//proc/{pod.pid}/ns/net", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert first.startswith("hello 10.77.0.1 ")
    assert (second, third) == ("None", "of this machine")
    # What is missing is said, and once.
    assert done.stderr.count("name a process too") == 2
    assert done.stderr.count("\n") == 2


def test_what_has_no_environment_and_files_is_refused() -> None:
    # The first of the kernel's threads, where processes are not hidden by a PID namespace.
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        assert "(kthreadd) is a thread of the kernel" in refusal(run("pid/2", "true"), ExitCode.TARGET_NOT_FOUND)
    with subprocess.Popen(["sh", "-c", "true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert "(sh) has ended" in refusal(run(f"pid/{ended.pid}", "true"), ExitCode.TARGET_NOT_READY)


def test_a_named_network_with_a_process(pod: Pod, other_pod: Pod) -> None:
    name = f"inpod-test-{os.getpid()}"
    Path("/run/netns").mkdir(exist_ok=True)
    subprocess.run(["ip", "netns", "attach", name, str(pod.pid)], check=True)
    try:
        code = f"import os; print(os.environ['APP_MODE'])\n{CONNECT}"
        done = run(f"netns/{name}/pid/{other_pod.pid}", sys.executable, "-c", code)
        assert done.stderr == ""
        assert done.stdout.startswith("remote\nhello 10.77.0.1 ")
        assert name in refusal(run("netns/none", "true"), ExitCode.TARGET_NOT_FOUND)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_statuses_and_signals_are_those_of_the_program(pod: Pod) -> None:
    assert run(f"pid/{pod.pid}", "sh", "-c", "exit 7").returncode == 7
    assert run(f"pid/{pod.pid}", "sh", "-c", "kill -TERM $$").returncode == -signal.SIGTERM


def test_an_ordinary_user_enters_a_process_of_his_own(tmp_path: Path) -> None:
    code = f"import os; print(os.getuid(), os.environ['APP_MODE'])\n{CONNECT}"
    done = run_in_own_pod(tmp_path, "-t", "pid/POD", "--", sys.executable, "-c", code)
    assert done.stderr == ""
    assert done.stdout.startswith("1000 remote\nhello 10.77.0.1 ")


def test_an_ordinary_user_steals_where_bpf_is_not_needed(tmp_path: Path) -> None:
    config, root = tmp_path / "inpod.json", tmp_path / "pod"
    config.write_text('{"agent": {"redirect": "sk_lookup"}}')
    root.mkdir()
    done = run_in_own_pod(root, "--steal", "-f", str(config), "-t", "pid/POD", "--", "true")
    assert "Cannot steal" in refusal(done, ExitCode.NO_MEANS)
    done = run_in_own_pod(root, "--steal", "-t", "pid/POD", "--", "true")
    assert done.returncode == 0


def test_the_right_is_missing(pod: Pod, tmp_path: Path) -> None:
    # No sudo in PATH.
    (tmp_path / "true").symlink_to("/bin/true")
    said = refusal(run(f"pid/{pod.pid}", "true", before=tuple(AS_USER), PATH=str(tmp_path)), ExitCode.NO_PERMISSION)
    assert "Only root may enter" in said
    # One that refuses, as for users without the right; there is no terminal to ask on.
    sudo = tmp_path / "sudo"
    sudo.write_text("#!/bin/sh\nexit 1\n")
    sudo.chmod(0o755)
    said = refusal(run(f"pid/{pod.pid}", "true", before=tuple(AS_USER), PATH=str(tmp_path)), ExitCode.NO_PERMISSION)
    assert "sudo -v" in said


def test_what_is_not_there() -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    said = refusal(run(f"pid/{ended.pid}", "true"), ExitCode.TARGET_NOT_FOUND)
    assert f"no process {ended.pid}" in said
    assert "no network namespace" in refusal(run("netns//proc/none", "true"), ExitCode.TARGET_NOT_FOUND)


def test_a_file_that_is_no_namespace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "no network namespace" in refusal(run(f"netns/{tmp_path}/file", "true"), ExitCode.AGENT_START)


def test_a_command_that_cannot_run_starts_nothing(pod: Pod, tmp_path: Path) -> None:
    assert "not-a-command" in refusal(run(f"pid/{pod.pid}", "not-a-command"), ExitCode.COMMAND_NOT_FOUND)
    config = tmp_path / "inpod.json"
    config.write_text('{"interceptor": "layer"}')
    by_layer = run(f"pid/{pod.pid}", "/sbin/ldconfig", options=("-f", str(config)))
    assert "statically" in refusal(by_layer, ExitCode.NOT_INTERCEPTABLE)


async def test_the_agent_does_not_see_the_users_python(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("json", "asyncio", "inpod", "sitecustomize"):
        (tmp_path / f"{module}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    link = await DirectTarget(ProcessTarget(pod.pid)).start_agent(lambda text: None)
    loop = asyncio.get_running_loop()
    link.sock.setblocking(False)
    try:
        async with asyncio.timeout(LIMIT_S):
            assert await loop.sock_recv(link.sock, 1)  # a frame: it lives
        assert link.last_words() == ""
    finally:
        await link.close()
    assert not _children()


async def test_an_agent_that_dies_leaves_its_last_words(
    pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\necho first >&2; echo no more >&2; exit 3\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    link = await DirectTarget(ProcessTarget(pod.pid)).start_agent(lambda text: None)
    link.sock.setblocking(False)
    try:
        async with asyncio.timeout(LIMIT_S):
            assert await asyncio.get_running_loop().sock_recv(link.sock, 1) == b""
        assert link.last_words() == "no more"
    finally:
        await link.close()


async def test_signals_of_the_terminal_do_not_reach_the_agent(pod: Pod) -> None:
    link = await DirectTarget(ProcessTarget(pod.pid)).start_agent(lambda text: None)
    (agent,) = _children()
    assert os.getpgid(agent) not in (os.getpgrp(), os.getpgid(os.getppid()))
    await link.close()


async def test_closing_ends_an_agent_that_hangs(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    from inpod.targets import direct

    monkeypatch.setattr(direct, "END_LIMIT_S", 0.5)
    link = await DirectTarget(ProcessTarget(pod.pid)).start_agent(lambda text: None)
    (agent,) = _children()
    os.kill(agent, signal.SIGSTOP)
    await link.close()
    assert not _runs(agent)


def test_the_agent_ends_when_the_session_is_killed(pod: Pod) -> None:
    target = parse_target(f"pid/{pod.pid}")
    code = "print('here', flush=True); import time; time.sleep(100)"
    argv = [*EXEC, "-t", str(target), "--", sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        below = _children(process.pid)
        assert len(below) >= 2  # the agent and the program
        process.kill()
        end = time.monotonic() + LIMIT_S
        while left := [pid for pid in below if _runs(pid)]:
            assert time.monotonic() < end, left
            time.sleep(0.02)


def _children(pid: int | None = None) -> list[int]:
    pid = os.getpid() if pid is None else pid
    text = "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
    return [int(word) for word in text.split() if b"unshare" not in Path(f"/proc/{word}/cmdline").read_bytes()]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


@pytest.mark.parametrize("progress", ["plain", "json"])
def test_the_program_runs_also_where_nobody_hears_of_progress(pod: Pod, progress: str) -> None:
    reader, unread = os.pipe()
    os.close(reader)
    argv = [*EXEC, "--progress", progress, "-t", f"pid/{pod.pid}", "--", "sh", "-c", "echo $APP_MODE; exit 3"]
    for error in (unread, os.open("/dev/full", os.O_WRONLY)):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=error, timeout=LIMIT_S)
        os.close(error)
        assert done.stdout == b"remote\n"
        assert done.returncode == 3


def test_options_that_mirrord_would_take_from_the_environment_are_named_once(pod: Pod) -> None:
    argv = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "--", "true"]
    environment = {**os.environ, "MIRRORD_AGENT_IMAGE": "x"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, env=environment)
    assert done.returncode == 0
    assert done.stderr.count("Not looked at: MIRRORD_AGENT_IMAGE.") == 1


def test_what_a_file_says_of_a_cluster_is_left_aside_for_a_process_of_this_machine(pod: Pod, tmp_path: Path) -> None:
    path = tmp_path / "inpod.json"
    path.write_text(json.dumps({"target": "deployment/api", "kube_context": "staging", "agent": {"ephemeral": True}}))
    argv = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "-f", str(path), "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0
    said = f"pid/{pod.pid} is no target in a cluster: kube_context, agent.ephemeral of {path}."
    assert done.stderr.count(said) == 1
