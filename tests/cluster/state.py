"""What there is of this machine's cluster: where its state lies, which parts of it run, who may change it."""

import contextlib
import os
import subprocess
from pathlib import Path

from tests.cluster.build import CACHE, locked

STATE = CACHE / "cluster"
KUBECONFIG = STATE / "admin.kubeconfig"
NETNS = Path("/run/netns")

ON_EVERY_NODE = frozenset({"containerd", "kubelet", "kube-proxy", "pause"})
"""`pause` becomes a node's process 1 when node.sh has started all else."""
ON_FIRST_NODE = frozenset({"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "coredns"})

ASK_WITHIN_S = 10


def alone() -> contextlib.AbstractContextManager[None]:
    """Keep others from changing the cluster meanwhile."""
    return locked("lock")


def name() -> str:
    """Return the cluster's name, with which all begins that it has outside its folder: of the one there is, or a new one's."""
    return made_for().get("NS") or os.environ.get("NS", "inpod")


def made_for() -> dict[str, str]:
    """Return the name and the networks of the cluster there is, as vars.sh takes them; nothing without one."""
    with contextlib.suppress(OSError):
        return dict(pair.split("=", 1) for pair in (STATE / "made-for").read_text().split())
    return {}


def made_by() -> str:
    """Return what the cluster was made by, as `Built.maker` has it; "" of one that does not tell."""
    with contextlib.suppress(OSError):
        return (STATE / "made-by").read_text()
    return ""


def set_made_by(maker: str) -> None:
    """Note what makes it, before it is made."""
    STATE.mkdir(parents=True, exist_ok=True)
    (STATE / "made-by").write_text(maker)


def nodes() -> list[int]:
    """Return the numbers of the nodes that have at least a network, in order."""
    prefix = f"{name()}-node"
    found = [path.name.removeprefix(prefix) for path in NETNS.glob(f"{prefix}*")]
    return sorted(int(number) for number in found if number.isdigit())


def has_traces() -> bool:
    """Return whether anything is there, be it whole, half or left by a machine that was off since."""
    return STATE.exists() or bool(nodes())


def missing() -> list[str]:
    """Return the parts that should run and do not; a part that was killed is here at once, whatever the API server thinks."""
    found = nodes()
    if not found or not KUBECONFIG.exists():
        return ["its nodes" if not found else "its kubeconfig"]
    lacking = []
    for node in found:
        expected = ON_EVERY_NODE | ON_FIRST_NODE if node == 1 else ON_EVERY_NODE
        absent = sorted(expected - _running(node))
        lacking += (
            [f"all of node{node}"] if len(absent) == len(expected) else [f"{part} of node{node}" for part in absent]
        )
    return lacking


def is_ready() -> bool:
    """Return whether the API server is ready and says that every node is."""
    return _asks("get", "--raw", "/readyz") and _asks("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=1s")


def _running(node: int) -> set[str]:
    """Return the parts that run in a node: a process's name, or what the one binary was told to be."""
    listed = subprocess.run(["ip", "netns", "pids", f"{name()}-node{node}"], capture_output=True, text=True)
    parts = set()
    for pid in listed.stdout.split():
        with contextlib.suppress(OSError):
            arguments = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
            program = Path(arguments[0]).name
            parts.add(arguments[1] if program == "kube" else program)
    return parts


def _asks(*arguments: str) -> bool:
    command = [str(STATE / "kubectl"), "--kubeconfig", str(KUBECONFIG), "--request-timeout=5s", *arguments]
    try:
        return subprocess.run(command, capture_output=True, timeout=ASK_WITHIN_S).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
