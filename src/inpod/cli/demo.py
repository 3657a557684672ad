"""`inpod demo`: shows on this machine, without a cluster, what inpod does.

It makes a small pod of namespaces (demo/pod.py), runs a local program (demo/program.py) in its place by `inpod exec`, and at
each step prints what the remote end saw, and checks it. The pod's values are new at each run.
"""

import argparse
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inpod.cli.help import Help, Parser
from inpod.errors import ExitCode, UserError

DESCRIPTION = """\
Make a small pod of namespaces on this machine, run a local program in its place, and show at each step what the remote
end saw. Everything is checked; exit status 0 means that all held. Nothing stays. As root it shows everything, as an
ordinary user all but stealing.
"""

DEADLINE_S = 30.0
NO_STEALING = "stealing: not shown. It needs BPF, which the kernel refuses in user namespaces: run the demo as root."


def add_to(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo", help="show what inpod does, without a cluster", description=DESCRIPTION, formatter_class=Help
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show and check; 0 only if all held."""
    checks = _Checks()
    with tempfile.TemporaryDirectory(prefix="inpod-demo-") as folder, _pod(Path(folder)) as pod:
        _print(f"A small pod runs on this machine as process {pod.pid}: own network, files, hostname '{pod.name}'.")
        _print("\nA local program in its place, with a copy of its traffic: inpod exec -t pid/… -- python program.py")
        with _program(pod) as program:
            _look_around(pod, program, checks)
            before = pod.served()
            answer = pod.get("/soup")
            seen = program.expect("path")
            checks.add("the caller was answered by the pod itself", answer["body"], f"the pod {pod.name} answers /soup")
            checks.add("the pod itself has served", str(pod.served() - before), "1")
            checks.add("the program saw a copy of", seen["path"], "/soup")
            checks.add("the program saw the real caller", seen["peer"], answer["peer"])
        if os.geteuid() == 0:
            _print("\nAnd with the traffic itself: inpod exec --steal …")
            with _program(pod, "--steal") as program:
                program.expect("listening")
                before = pod.served()
                answer = pod.get("/salad")
                seen = program.expect("path")
                checks.add("the caller was answered by the program", answer["body"], "the local program answers /salad")
                checks.add("the pod itself has served", str(pod.served() - before), "0")
                checks.add("the program saw the real caller", seen["peer"], answer["peer"])
        else:
            _print(f"\n{NO_STEALING}")
        _print("\nAfter the program has ended:")
        checks.add(
            "the caller is answered by the pod again", pod.get("/tea")["body"], f"the pod {pod.name} answers /tea"
        )
    _print(f"\n{checks.passed} of {checks.total} held. Nothing of the demo is left.")
    return 0 if checks.passed == checks.total else 1


def _look_around(pod: "_Pod", program: "_Lines", checks: "_Checks") -> None:
    checks.add("the pod's variable POD_MENU is", program.expect("environment")["environment"], pod.menu)
    facts = program.expect("file")
    checks.add("the pod's file /srv/menu.txt says", facts["file"], pod.menu)
    checks.add("the pod's file /etc/hostname says", facts["hostname"], pod.name)
    checks.add("the pod's private service 'orders' says", program.expect("call")["call"], f"{pod.orders} /today")
    checks.add("that service was called", str(pod.ask("count")["orders"]), "1")
    checks.add("the program listens, as it sees it, on", program.expect("listening")["listening"], "0.0.0.0:8080")


class _Checks:
    def __init__(self) -> None:
        self.passed = self.total = 0

    def add(self, what: str, found: str, expected: str) -> None:
        self.total += 1
        held = found == expected
        self.passed += held
        _print(f"  {'ok  ' if held else 'FAIL'} {what}: {found}" + ("" if held else f" (expected: {expected})"))


class _Lines:
    """A process that prints JSON lines."""

    def __init__(self, process: "subprocess.Popen[str]", what: str) -> None:
        self._process = process
        self._what = what

    def line(self) -> str:
        """Return the next line.

        Raises:
            UserError: None came.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], DEADLINE_S)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise UserError(
                f"The demo's {self._what} {'says nothing' if not ready else 'ended too early'}.",
                hint="Look at the lines above; if they do not help, please report them.",
                exit_code=ExitCode.AGENT_START,
            )
        return line

    def expect(self, key: str) -> dict[str, str]:
        """Return the next line that has `key`."""
        while True:
            found: dict[str, str] = json.loads(self.line())
            if key in found:
                return found


class _Pod(_Lines):
    """The running pod. `menu`, `orders` and `name` are its values of this run."""

    def __init__(self, process: "subprocess.Popen[str]", values: dict[str, str]) -> None:
        super().__init__(process, "pod")
        self.name, self.menu, self.orders = values["POD_NAME"], values["POD_MENU"], values["POD_ORDERS"]
        if self.line().strip() != "ready":
            raise UserError("The demo's pod did not start.", hint="Look at the lines above.")
        # unshare forked: the pod is its child.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        self.pid = int(children[0])

    def ask(self, line: str) -> dict[str, str]:
        """Let the pod do something; return what it says."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        found: dict[str, str] = json.loads(self.line())
        return found

    def get(self, path: str) -> dict[str, str]:
        """Let the client in the pod's network ask the pod's port."""
        return self.ask(f"get {path}")

    def served(self) -> int:
        """Return how many requests the pod itself has answered."""
        return int(self.ask("count")["served"])


@contextmanager
def _pod(folder: Path) -> Iterator[_Pod]:
    if shutil.which("unshare") is None:
        raise UserError("The demo needs unshare(1).", hint="Install util-linux.")
    mark = secrets.token_hex(2)
    values = {
        "POD_NAME": f"kitchen-{mark}",
        "POD_MENU": f"soup of {mark}",
        "POD_ORDERS": f"orders since {time.time_ns()}:",
    }
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    spaces = ["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child"]
    source = Path(__file__).parent.parent / "demo" / "pod.py"
    process = subprocess.Popen(
        ["unshare", *user, *spaces, sys.executable, "-I", str(source), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=values,
        start_new_session=True,  # Ctrl-C is for us: the pod ends when our end of its stdin does
    )
    try:
        yield _Pod(process, values)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait(DEADLINE_S)


@contextmanager
def _program(pod: _Pod, *options: str) -> Iterator[_Lines]:
    """Run the local program in the pod's place, as a user would."""
    source = Path(__file__).parent.parent / "demo" / "program.py"
    inpod = [sys.executable, "-m", "inpod", "exec", "--target", f"pid/{pod.pid}", "--progress", "off", *options]
    process = subprocess.Popen(
        [*inpod, "--", sys.executable, str(source)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        yield _Lines(process, "program")
    finally:
        assert process.stdout is not None
        process.stdout.close()
        process.terminate()
        process.wait(DEADLINE_S)


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 # what a demo is for
