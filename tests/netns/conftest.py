"""Pods made of namespaces, and agents beside them."""

import asyncio
import inspect
import os
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from inpod.tunnel.streams import Stream, Tunnel
from tests.netns.session import INTERCEPTOR

START_LIMIT_S = 20
SCENARIO_LIMIT_S = 60
SOURCES = Path(__file__).parents[2] / "src"
POD_PROGRAM = Path(__file__).with_name("pod.py")

POD_ENV = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "APP_MODE": "remote", "GREETING": "grüß\udcff"}
"""Environment of the pod's process."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run tests that are coroutines, each in a loop of its own."""
    if not inspect.iscoroutinefunction(test := pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    asyncio.run(asyncio.wait_for(test(**arguments), SCENARIO_LIMIT_S))
    return True


@dataclass(frozen=True)
class Pod:
    """Attributes:
    pid: Of its process, as seen from here.
    """

    pid: int


@contextmanager
def running_pod(root: Path, *, user: int = 0, in_user_namespace: bool = False) -> Iterator[Pod]:
    """Start `pod.py` in namespaces of its own.

    Args:
        root: A directory that becomes its root.
        user: Whom it serves as, inside.
        in_user_namespace: Whether it gets a user namespace too, as the pods of ordinary users.
    """
    flags = ["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"]
    if in_user_namespace or os.geteuid():
        flags += ["--user", "--map-root-user"]
    command = ["unshare", *flags, sys.executable, str(POD_PROGRAM), str(root), str(user)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=POD_ENV) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], START_LIMIT_S)[0], "the pod did not start"
            assert process.stdout.readline() == b"ready\n"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            yield Pod(int(children.split()[0]))
        finally:
            process.stdin.close()
            process.wait(START_LIMIT_S)


@pytest.fixture(params=["layer", "tracer"])
def interceptor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The interceptor that sessions of tests.netns.session run their programs with."""
    monkeypatch.setenv(INTERCEPTOR, request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    """A pod that runs as root inside; its tests leave it as it was."""
    with running_pod(tmp_path_factory.mktemp("pod")) as pod:
        yield pod


@dataclass(frozen=True)
class Agent:
    """A running agent with its tunnel attached."""

    process: subprocess.Popen[bytes]
    tunnel: Tunnel

    async def ended(self) -> int:
        """Wait for the agent's end and return its status."""
        return await asyncio.to_thread(self.process.wait, START_LIMIT_S)


def agent_environment(**changes: str) -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(SOURCES), "PYTHONWARNINGS": "error", **changes}


def agent_command(*arguments: str, first: str = "") -> list[str]:
    """Return what starts an agent.

    Args:
        first: Python that it runs before all else.
    """
    program = ["-c", f"{first}\nimport inpod.agent.__main__"] if first else ["-m", "inpod.agent"]
    return [sys.executable, *program, *arguments]


@pytest.fixture
def without_uvloop(tmp_path: Path) -> dict[str, str]:
    """Environment of an agent that finds no uvloop, as in a stock Python image."""
    (tmp_path / "uvloop.py").write_text("raise ImportError")
    return agent_environment(PYTHONPATH=f"{tmp_path}:{SOURCES}")


@asynccontextmanager
async def running_agent(
    *arguments: str,
    env: dict[str, str] | None = None,
    rights: Sequence[str] = (),
    on_stream: Callable[[Stream, bytes], None] | None = None,
) -> AsyncIterator[Agent]:
    """Start `python -m inpod.agent` at one end of a socketpair and attach a tunnel to the other.

    Args:
        rights: Options of setpriv(1) that take rights away.
    """
    ours, theirs = socket.socketpair()
    command = agent_command("--fd", str(theirs.fileno()), *arguments)
    if rights:
        command = ["setpriv", *rights, *command]
    env = agent_environment() if env is None else env
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env)  # noqa: ASYNC220  # a fork; no wait
    theirs.close()
    tunnel = Tunnel(initiator=True, on_stream=on_stream or (lambda stream, _: stream.refuse(b"")))
    try:
        await tunnel.attach(ours)
        yield Agent(process, tunnel)
    finally:
        tunnel.close()
        status = await asyncio.to_thread(process.wait, START_LIMIT_S)
    assert status == 0
