"""`inpod status`: the sessions that run on this machine, and what became of their ports' traffic."""

import argparse
import json
from typing import TYPE_CHECKING

from inpod.cli.help import Parser
from inpod.cli.output import put, say

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
        put(json.dumps(found, indent=2) + "\n")
    elif found:
        put("\n".join(as_text(session) for session in found))
    else:
        say("inpod: no session of yours runs on this machine.")
    return 0


def as_text(session: "Json") -> str:
    """Return a session for people, each line ended."""
    link = "" if session["link"] == "up" else " (the agent is lost; trying to reach it again)"
    lines = [f"{session['target']}{link}: {' '.join(session['command'])}, process {session['pid']}"]
    for port in session["ports"]:
        lines += _port(port)
    return "".join(f"{line}\n" for line in lines)


def _port(port: "Json") -> list[str]:
    goes = {"steal": "goes to", "mirror": "is mirrored to"}.get(port["mode"], "is not had")
    what = "peers" if port["protocol"] == "udp" else "connections"
    name = f"{'UDP ' if port['protocol'] == 'udp' else ''}port {port['port']}"
    lines = [f"  {name} {goes} {port['local']}".rstrip()]
    if port["connections"]:
        lines.append(f"    {port['connections']} {what} came to the program")
    if port["refused"]:
        lines.append(f"    {port['refused']} of them were not taken, the last: {port['why_refused']}")
    if port["seen"]:
        lines.append(
            f"    {port['seen']} requests seen, {port['matched']} to the program, {port['passed']} to the target itself"
        )
    lines += [f"    {port[count]} {text}" for count, text in _COUNTS.items() if port[count]]
    if port["why"]:
        lines.append(f"    the last one that passed: {port['why']}")
    if port["note"]:
        lines.append(f"    {port['note']}")
    return lines


_COUNTS = {
    "whole": "connections passed to the target unread",
    "dropped": "packets or datagrams missing",
    "moved": "older connections were reset, to come again",
    "stayed": "older connections stay the target's (in mirror mode: copied from their next HTTP/1 request on)",
}
