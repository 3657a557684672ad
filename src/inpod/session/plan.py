"""What a session is to do, decided before anything is changed."""

from pathlib import Path
from typing import Literal, NamedTuple

from inpod.config.env import EnvFilter
from inpod.config.files import FilesMode, Trees
from inpod.config.incoming import OnConcurrentSteal, Ports
from inpod.config.outgoing import Way
from inpod.protocol.agent import Redirect


class Plan(NamedTuple):
    """Attributes:
    argv: The program's own command line.
    executable: The file to execute.
    is_pods: Whether only the pod can have the program: `executable` is env(1), which becomes it.
    mode: What happens to the pod's incoming traffic.
    files: "read": pod files are read, writes stay here; "localwithoverrides": only what is mounted or asked for; "local".
    trees: What of them is asked to be the pod's or this machine's.
    env: Which of the pod's variables the program gets, and what else.
    ports: Of listeners.
    filter: Which HTTP requests come to the program, compiled (`http_filter`); None: all traffic.
    filtered_ports: Ports of the pod that the filter is for; empty: all.
    redirect: How ports are stolen.
    flush: Connections that the original has on a stolen port are reset.
    steals_probes: Whether the kubelet's probes come to the program too.
    on_conflict: What to do when another session has a port.
    local_ports: Ports of debuggers: left alone.
    local_trees: Paths that are this machine's: the program's installation, the folders of PATH, the working directory.
    native: Folder of the layer, the tracer and `inpod-trace`.
    interceptor: What the program itself is run with.
    way: What leaves from the target.
    hostname: Whether the host's name is the target's.
    skipped: Names of programs that are left alone, but for what they start.
    follows: Whether children that the layer cannot be in are traced.
    """

    argv: tuple[str, ...]
    executable: str
    native: Path
    mode: Literal["mirror", "steal", "off"] = "mirror"
    files: FilesMode = "read"
    env: EnvFilter = EnvFilter()
    trees: Trees = Trees()
    ports: Ports = Ports()
    filter: dict[str, object] | None = None
    filtered_ports: tuple[int, ...] = ()
    redirect: Redirect = "auto"
    flush: bool = True
    steals_probes: bool = False
    on_conflict: OnConcurrentSteal = "abort"
    local_ports: tuple[int, ...] = ()
    local_trees: tuple[str, ...] = ()
    interceptor: Literal["layer", "tracer"] = "layer"
    follows: bool = True
    way: Way = Way()
    hostname: bool = True
    skipped: tuple[str, ...] = ()
    is_pods: bool = False
