"""`inpod demo`: shows on this machine, without a cluster, what inpod does."""

import argparse

from inpod.cli.help import Parser
from inpod.cli.output import put

DESCRIPTION = """\
Make a small pod of namespaces on this machine, run a program in its place, and show at each step what the pod's side
saw. Everything is checked: exit status 0 means that all held, 1 that something did not. Nothing stays.
It needs no rights: an ordinary user's user namespaces will do.
"""


def add_to(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo",
        help="show what inpod does, without a cluster",
        description=DESCRIPTION,
        usage="inpod demo",
    )
    parser.set_defaults(run=run)
    parser.add_argument_group("options").add_argument("-h", "--help", action="help", help="show this and exit")


def run(options: argparse.Namespace) -> int:
    """Show and check; 0 only if all held."""
    from inpod.demo.show import show

    return 0 if show(put) else 1
