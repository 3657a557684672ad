"""Writes the facts of this session that the layer's rules decide by. The rules themselves are native/rules."""

import os
from pathlib import Path

from inpod.config.outgoing import Way
from inpod.session.plan import Plan
from inpod.session.tracer import TRACE


def rules_text(plan: Plan, folder: Path, mounts: tuple[str, ...], *, files_work: bool, hostname: str = "") -> bytes:
    """Return the content of the session's `rules` file.

    Args:
        hostname: The target's; "" when unknown.

    Lines of a word, a tab and a value; the reader is native/rules. A path with a line break cannot be said and is left
    out: its default rule holds.
    """
    lines: list[tuple[str, str]] = [
        ("files", plan.files if files_work else "local"),
        ("incoming", "off" if plan.mode == "off" else "on"),
        ("network", "on"),
        ("local-tree", str(folder)),
        ("local-tree", os.environ.get("TMPDIR", "/tmp")),  # noqa: S108 # a rule, no file
    ]
    lines += [("local-tree", tree) for tree in plan.local_trees if tree != "/"]
    if home := os.environ.get("HOME"):
        lines.append(("home", home))
    for mount in mounts:
        if not any(_is_in(mount, tree) for tree in plan.trees.here):
            lines += [("remote-tree", path) for path in _aliases(mount.rstrip("/"))]
    # Last: of two lines for one path the later counts.
    lines += [("remote-tree", path) for path in plan.trees.pod]
    lines += [("local-tree", path) for path in plan.trees.here]
    lines += [("local-port", str(port)) for port in (*plan.local_ports, *plan.ports.ignored)]
    lines += [("only-port", str(port)) for port in plan.ports.only]
    lines += [("listen-port", f"{asked} {had}") for asked, had in plan.ports.listen]
    lines += _of_way(plan.way)
    if hostname and plan.hostname:
        lines.append(("hostname", hostname))
    lines += [("skip", name) for name in plan.skipped]
    if plan.follows:
        lines.append(("tracer", str(plan.native / TRACE)))
    if plan.ports.ignores_localhost:
        lines.append(("localhost", "off"))
    text = "inpod-rules 1\n" + "".join(f"{key}\t{value}\n" for key, value in lines if "\n" not in value and value)
    return os.fsencode(text)


def _of_way(way: Way) -> list[tuple[str, str]]:
    switches = {
        "outgoing-tcp": way.tcp,
        "outgoing-udp": way.udp,
        "outgoing-localhost": way.localhost,
        "names": way.names,
    }
    lines = [(name, "off") for name, is_on in switches.items() if not is_on]
    if not way.names:
        # Who resolves by himself asks this machine's servers too.
        lines += [("local-tree", path) for path in ("/etc/hosts", "/etc/nsswitch.conf", "/etc/resolv.conf")]
    if way.unix_streams:
        lines.append(("unix-streams", "on"))
    lines += [("outgoing-remote", destination) for destination in way.remote]
    lines += [("outgoing-local", destination) for destination in way.local]
    lines += [("names-remote", pattern) for pattern in way.names_remote]
    return lines + [("names-local", pattern) for pattern in way.names_local]


def _is_in(path: str, tree: str) -> bool:
    return path == tree or path.startswith(tree + "/")


def _aliases(mount: str) -> list[str]:
    """Return a mount's path, and its other name where /var/run is a link to /run."""
    for here, there in (("/var/run/", "/run/"), ("/run/", "/var/run/")):
        if mount.startswith(here):
            return [mount, there + mount[len(here) :]]
    return [mount]
