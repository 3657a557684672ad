"""`python -m tests.cluster up|down|status`: starts, stops, looks at the cluster of this machine. Root only."""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.build import CACHE, HERE, build, install_packages

STATE = CACHE / "cluster"
KUBECONFIG = STATE / "admin.kubeconfig"


def up(nodes: int) -> int:
    """Build what is missing and start; a call while it runs only looks. What is half there is taken down first."""
    install_packages()
    folder = build()
    environment = _environment(folder) | {"NODES": str(nodes)}
    if not is_up() and STATE.exists():
        down()
    if _script("up.sh", environment) != 0:
        down()
        if code := _script("up.sh", environment):
            return code
    mark = STATE / f"loaded-{(folder / 'python.img').resolve().parent.name}-{nodes}"
    if not mark.exists():
        if code := _script("load.sh", environment, str((folder / "python.img").resolve())):
            return code
        mark.touch()
    print(f"export KUBECONFIG={KUBECONFIG} PATH={STATE}:$PATH", flush=True)
    return 0


def down() -> int:
    """Stop, and remove all state: the next one is new."""
    code = _script("down.sh", _environment(CACHE))
    if code == 0:
        shutil.rmtree(STATE, ignore_errors=True)
    return code


def is_up() -> bool:
    """Return whether the API server says that it is ready."""
    if not KUBECONFIG.exists():
        return False
    command = [str(STATE / "kubectl"), "--kubeconfig", str(KUBECONFIG), "--request-timeout=5s", "get", "--raw", "/readyz"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _environment(build_folder: Path) -> dict[str, str]:
    return dict(os.environ, D=str(STATE), BUILD=str(build_folder))


def _script(name: str, environment: dict[str, str], *arguments: str) -> int:
    return subprocess.run([HERE / name, *arguments], env=environment).returncode


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--nodes", type=int, default=1)
    options = parser.parse_args()
    if options.command == "status":
        print("up" if is_up() else "down")
        return 0 if is_up() else 1
    if os.geteuid() != 0:
        print("python -m tests.cluster: root is needed: nodes are network and mount namespaces", file=sys.stderr)
        return 1
    return up(options.nodes) if options.command == "up" else down()


if __name__ == "__main__":
    sys.exit(main())
