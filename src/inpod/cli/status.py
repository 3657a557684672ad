"""`inpod status`: the sessions that run on this machine, and what became of their ports' traffic."""

import argparse
import json
import shlex
from typing import TYPE_CHECKING

from inpod.cli.help import Parser
from inpod.cli.output import put, say
from inpod.errors import printable

if TYPE_CHECKING:
    from inpod.session.status import Json

DESCRIPTION = """\
Show the sessions of this user that run on this machine: for each port, what was seen, what came to the program, what
the target itself got, and why the last request did not come to the program.
"""

MAX_COMMAND = 80
"""Longest command that is shown, in characters."""


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
        say("inpod: No session of yours runs on this machine.")
    return 0


def as_text(session: "Json") -> str:
    """Return a session for people, each line ended."""
    link = "" if session["link"] == "up" else " (the agent is lost; trying to reach it again)"
    lines = [f"{session['target']}{link}: {_command(session['command'])}, process {session['pid']}"]
    for port in session["ports"]:
        lines += _port(port)
    return "".join(f"{line}\n" for line in lines)


def _port(port: "Json") -> list[str]:
    goes = {"steal": "goes to", "mirror": "is mirrored to"}.get(port["mode"], "is not had")
    is_udp, is_copy = port["protocol"] == "udp", port["mode"] == "mirror"
    name = f"{'UDP ' if is_udp else ''}port {port['port']}"
    lines = [f"  {name} {goes} {port['local']}".rstrip()]
    if port["connections"]:
        lines.append(f"    {_many(port['connections'], 'peer' if is_udp else 'connection')} came to the program")
    if port["refused"]:
        lines.append(f"    {port['refused']} not taken, the last: {port['why_refused']}")
    if port["seen"]:
        went = f"{port['matched']} copied to the program"
        if not is_copy:
            went = f"{port['matched']} to the program, {port['passed']} to the target itself"
        lines.append(f"    {_many(port['seen'], 'request')} seen, {went}")
    for count, (each, rest) in _COUNTS.items():
        if port[count]:
            each = "datagram" if is_udp and count == "dropped" else each
            lines.append(f"    {_many(port[count], each)} {rest}")
    if port["why"]:
        lines.append(f"    the last one that {'was not copied' if is_copy else 'passed'}: {port['why']}")
    if port["note"]:
        lines.append(f"    {port['note']}")
    lines += [f"    {service}" for service in port["services"]]
    return lines


def _command(argv: list[str]) -> str:
    """Return a command as it is typed, in one line; -o json has all of it."""
    text = printable(shlex.join(argv))
    return text if len(text) <= MAX_COMMAND else f"{text[: MAX_COMMAND - 1]}…"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


_COUNTS = {
    "whole": ("connection", "passed to the target unread"),
    "dropped": ("packet", "missing"),
    "moved": ("older connection", "reset, to come again"),
    "stayed": ("older connection", "left to the target (in mirror mode: copied from the next HTTP/1 request on)"),
}
