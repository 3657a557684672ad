"""Whole sessions in a pod of namespaces: real agent, real layer, real program."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import uvloop

from inpod.errors import UserError
from inpod.launch.process import end_like
from inpod.session.events import Events
from inpod.session.plan import Plan
from inpod.session.run import run
from inpod.session.tracer import native_folder
from inpod.targets.base import AgentLink
from inpod.targets.direct import DirectTarget
from inpod.targets.spec import NetnsTarget, ProcessTarget, parse_target
from tests.processes import LIMIT_S, end, next_line

ROOT = Path(__file__).parents[2]

INTERCEPTOR = "INPOD_TEST_INTERCEPTOR"
"""Variable by which the fixture `interceptor` has whole sessions run with the tracer."""


@contextmanager
def session(
    target: str, *command: str, mode: str = "off", environment: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """Run `command` in the place of `target`, as `inpod exec` would. Events are lines of standard error."""
    paths = f"{ROOT / 'src'}:{ROOT}"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.netns.session", target, mode, str(cwd or ROOT), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths} | (environment or {}),
    ) as process:
        try:
            yield process
        finally:
            end(process)


def output_of(target: str, *command: str, mode: str = "off") -> str:
    """Return what `command` prints in the place of `target`; it must succeed."""
    with session(target, *command, mode=mode) as process:
        out, error = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, error
        return out


def python_in(target: str, code: str, *arguments: str, mode: str = "off") -> str:
    """Return what a Python program prints in the place of `target`."""
    return output_of(target, sys.executable, "-c", code, *arguments, mode=mode)


def line(process: "subprocess.Popen[str]") -> str:
    """Return the next line of a session's program."""
    return next_line(process.stdout)


def in_network_of(pid: int, code: str, *arguments: str) -> str:
    """Return what a Python program prints that runs in the network of a process, and nothing else of it."""
    command = ["nsenter", "-t", str(pid), "-n", sys.executable, "-c", code, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S).stdout


class Again:
    """A target whose agent is started again when it is lost, as one in a cluster can be."""

    def __init__(self, target: DirectTarget) -> None:
        self._target = target
        self.name = target.name

    async def start_agent(self, report: Callable[[str], None]) -> AgentLink:
        link = await self._target.start_agent(report)
        links = [link]

        async def remake() -> socket.socket:
            links.append(await self._target.start_agent(report))
            return links[-1].sock

        async def undo() -> None:
            for each in links[1:]:
                await each.close()
            await first_undo()

        first_undo, link.undo, link.remake = link.undo, undo, remake
        return link


def main(target: str, mode: str, cwd: str, command: Sequence[str]) -> int:
    os.chdir(cwd)
    events = Events()
    events.listen(lambda event: print(event, file=sys.stderr, flush=True))
    trees = (cwd, sys.base_prefix, sys.prefix)
    plan = Plan(
        argv=tuple(command),
        executable=shutil.which(command[0]) or command[0],
        native=native_folder(),
        interceptor="tracer" if os.environ.get(INTERCEPTOR) == "tracer" else "layer",
        mode=mode,  # type: ignore[arg-type]  # of our own tests
        local_trees=trees,
    )
    spec = parse_target(target.removeprefix("again:"))
    assert isinstance(spec, ProcessTarget | NetnsTarget)
    direct = DirectTarget(spec)
    try:
        return end_like(uvloop.run(run(plan, Again(direct) if target.startswith("again:") else direct, events)))
    except UserError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
