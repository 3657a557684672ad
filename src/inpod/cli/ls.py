"""`inpod ls`: what of a namespace can be imitated."""

import argparse
import json
from typing import TYPE_CHECKING

from inpod.cli.help import Parser
from inpod.cli.output import put, say

if TYPE_CHECKING:
    from inpod.targets.kube.list import Listed

COLUMNS = ("TARGET", "READY", "CONTAINERS")

MAX_WIDTH = 80
"""Of a column, in characters; most names have at most 63."""


def add_to(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ls",
        help="list what can be imitated in a namespace",
        description="List the deployments and pods of a namespace as --target names them, with their containers.",
        usage="inpod ls [OPTION ...]",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument_group("options").add_argument
    add("-n", "--target-namespace", metavar="NAMESPACE", help="another than that of the context")
    add("--context", metavar="NAME", help="the context of the kubeconfig (default: the current one)")
    add("-o", "--output", metavar="table|json", choices=("table", "json"), default="table", help="default: table")
    add("-h", "--help", action="help", help="show this and exit")


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    from inpod.cli.loop import run as run_loop
    from inpod.targets.kube.list import list_targets

    kube_namespace, found = run_loop(list_targets(context=options.context, kube_namespace=options.target_namespace))
    text = as_json(found) if options.output == "json" else as_table(found)
    if not found and options.output == "table":
        say(f"inpod: There are no deployments and pods in namespace '{kube_namespace}'.")
    put(text)
    return 0


def as_table(found: "list[Listed]") -> str:
    """Return lines with aligned columns, for people; nothing for nothing."""
    rows = [COLUMNS, *((each.target, each.ready, ",".join(each.containers)) for each in found)]
    # A longer name stands out: the others' columns are still to be read.
    widths = [max(min(len(row[column]), MAX_WIDTH) for row in rows) for column in range(2)]
    lines = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}\n" for row in rows]
    return "".join(lines) if found else ""


def as_json(found: "list[Listed]") -> str:
    """Return a JSON array, for programs."""
    objects = [
        {"target": each.target, "ready": each.ready, "is_ready": each.is_ready, "containers": each.containers}
        for each in found
    ]
    return json.dumps(objects, indent=2) + "\n"
