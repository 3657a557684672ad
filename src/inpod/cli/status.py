"""`inpod status`: the sessions that run on this machine, and what became of their ports' traffic."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from inpod.cli.help import Help, Parser

if TYPE_CHECKING:
    from inpod.session.status import Json

DESCRIPTION = """\
Show the sessions of this user that run on this machine: for each port, what was seen, what came to the program, what
the target itself got, and why the last request did not come to the program.
"""


def add_to(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "status",
        help="show running sessions, and why a request did not arrive",
        description=DESCRIPTION,
        usage="inpod status [OPTION ...]",
        formatter_class=Help,
        add_help=False,
    )
    parser.set_defaults(run=run)
    add = parser.add_argument_group("options").add_argument
    add("-o", "--output", metavar="text|json", choices=("text", "json"), default="text", help="default: text")
    add("-h", "--help", action="help", help="show this and exit")


def run(options: argparse.Namespace) -> int:
    """Print the sessions."""
    from inpod.session.status import running_sessions

    found = running_sessions()
    if options.output == "json":
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    elif found:
        sys.stdout.write("\n".join(as_text(session) for session in found))
    else:
        print("inpod: no session of yours runs on this machine.", file=sys.stderr)  # noqa: T201 # the voice of the command line
    return 0


def as_text(session: "Json") -> str:
    """Return a session for people, each line ended."""
    link = "" if session["link"] == "up" else " (the agent is lost; trying to reach it again)"
    lines = [f"{session['target']}{link}: {' '.join(session['command'])}, process {session['pid']}"]
    for port in session["ports"]:
        lines.append(
            f"  {'UDP ' if port.get('protocol') == 'udp' else ''}port {port['port']} {'goes to' if port['mode'] == 'steal' else 'is mirrored to'} {port['local']}"
        )
        if port["seen"]:
            lines.append(
                f"    {port['seen']} requests seen, {port['matched']} to the program, {port['passed']} to the target itself"
            )
        for what, text in (
            ("whole", "connections passed to the target unread"),
            ("dropped", "packets missing in the copy"),
            ("moved", "older connections were reset, to come again"),
        ):
            if port[what]:
                lines.append(f"    {port[what]} {text}")
        if port["why"]:
            lines.append(f"    the last one that passed: {port['why']}")
    return "".join(f"{line}\n" for line in lines)
