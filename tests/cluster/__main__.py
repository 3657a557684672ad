"""`python -m tests.cluster up|down|status|load|env|apart`: starts, stops, looks at the cluster of this machine. Root only."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import apart, state
from tests.cluster.build import CACHE, HERE, PACKAGES, Built, build, say
from tests.cluster.state import KUBECONFIG, STATE
from tests.packages import install


def up(nodes: int) -> int:
    """Build what is missing and start; a call while it runs only looks. What is half there is taken down first."""
    install(PACKAGES)
    built = build()
    if state.has_traces() and (wrong := _wrong(built)):
        say(f"{wrong}: taking it down first")
        # The next one is in its place: without these it would be named, and look for what is there, as another one.
        os.environ.update(state.made_for())
        if code := down():
            return code
    is_there = state.has_traces()
    nodes = max(nodes, len(state.nodes()))
    # Made last of all: a start that was broken off has none, though all its processes may run.
    mark = STATE / f"loaded-{built.image.parent.name}-{nodes}"
    if mark.exists() and state.is_ready():
        return 0
    state.set_made_by(built.maker)
    code = _script("up.sh", built, nodes)
    if code and is_there:
        say("it runs and is not well: starting a new one")
        if (code := down()) == 0:
            state.set_made_by(built.maker)
            code = _script("up.sh", built, nodes)
    code = code or _script("load.sh", built, nodes, str(built.image))
    if code == 0:
        mark.touch()
    return code


def _wrong(built: Built) -> str:
    """Return why the cluster that has traces here cannot be gone on with, "" when it can."""
    if missing := state.missing():
        return f"half there, without {', '.join(missing)}"
    return "" if state.made_by() == built.maker else "made by other scripts or of another binary"


def down() -> int:
    """Stop, and remove all state: the next one is new."""
    code = _script("down.sh")
    if code == 0 and STATE.exists():
        shutil.rmtree(STATE)
    return code


def status() -> int:
    """Say in a line whether it is up; the exit status says so too."""
    if not state.has_traces():
        found = "down"
    elif missing := state.missing():
        found = f"half there, without {', '.join(missing)}; 'python -m tests.cluster up' repairs it"
    else:
        found = f"up, nodes {len(state.nodes())}" if state.is_ready() else "not ready"
    say(found)
    return 0 if found.startswith("up") else 1


def load(archives: list[str]) -> int:
    """Give image archives (`docker save`, or image.py's) to every node."""
    return _script("load.sh", None, 0, *archives)


def env() -> int:
    """Print what a shell evaluates to use the cluster."""
    if not KUBECONFIG.exists():
        print("python -m tests.cluster: there is no cluster: start it with 'up'", file=sys.stderr)
        return 1
    print(f"export KUBECONFIG={KUBECONFIG} PATH={STATE}:$PATH", flush=True)
    return 0


def _script(name: str, built: Built | None = None, nodes: int = 0, *arguments: str) -> int:
    environment = dict(os.environ, D=str(STATE), NS=state.name(), BUILD=str(built.kube.parent if built else CACHE))
    if nodes:
        environment["NODES"] = str(nodes)
    # A script must not go on alone, without the lock that this process holds.
    command = ["setpriv", "--pdeathsig", "KILL", str(HERE / name), *arguments]
    return subprocess.run(command, env=environment).returncode


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="install, build, start what is missing")
    start.add_argument("--nodes", type=_count, default=1)
    commands.add_parser("down", help="stop, and remove all state")
    commands.add_parser("status", help="a line, and exit status 0 or 1")
    commands.add_parser("load", help="give images to every node").add_argument("archive", nargs="+")
    commands.add_parser("env", help="what a shell evaluates to use it")
    beside = commands.add_parser("apart", help="run a command in a network of its own that reaches the nodes")
    beside.add_argument("argv", nargs=argparse.REMAINDER, metavar="COMMAND…")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("python -m tests.cluster: root is needed: nodes are network and mount namespaces", file=sys.stderr)
        return 1
    match options.command:
        case "up":
            with state.alone():
                return up(options.nodes) or env()
        case "down":
            with state.alone():
                return down()
        case "load":
            with state.alone():
                return load([str(Path(archive).resolve()) for archive in options.archive])
        case "env":
            return env()
        case "apart":
            if not options.argv:
                parser.error("apart: which command?")
            apart.run(options.argv)
        case _:
            return status()


def _count(text: str) -> int:
    if not 1 <= (number := int(text)) <= 9:
        raise argparse.ArgumentTypeError(f"{text}: 1 to 9 nodes")
    return number


if __name__ == "__main__":
    sys.exit(main())
