"""`inpod verify-config`: whether configuration files can be used, without a target or a cluster."""

import argparse
from pathlib import Path

from inpod.cli.help import Parser
from inpod.cli.output import in_words, put, say
from inpod.errors import ExitCode, UserError

DESCRIPTION = """\
Read configuration files as 'inpod exec -f' does, and say of each whether it can be used, and which of mirrord's keys are
left aside. Nothing is started, and no cluster is asked. Exit status 0 means that all can be used.
"""


def add_to(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify-config",
        help="say whether configuration files can be used",
        description=DESCRIPTION,
        usage="inpod verify-config [OPTION ...] FILE ...",
    )
    parser.set_defaults(run=run)
    add = parser.add_argument_group("options").add_argument
    add("-k", "--key", metavar="KEY", help="what {{ key }} stands for in the files")
    add("-h", "--help", action="help", help="show this and exit")
    parser.add_argument("files", nargs="+", metavar="FILE", type=Path, help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Print a line for each file; what is wrong goes to standard error."""
    status = 0
    for path in options.files:
        try:
            put(f"{path}: {verify(path, options.key)}\n")
        except UserError as error:
            if error.exit_code is not ExitCode.USAGE:
                raise
            if str(path) not in error.message:  # what the values say together has no line
                error.message = f"{path}: {error.message}"
            say(in_words(error))
            status = error.exit_code
    return status


def verify(path: Path, key: str | None) -> str:
    """Return, in words, that a file can be used.

    Raises:
        UserError: It cannot.
    """
    from inpod.config.load import Options, read, settings
    from inpod.session.incoming.http_filter import compile_filter
    from inpod.targets.spec import parse_target

    content = read(path, key)
    chosen = settings(Options(), content.file)
    if chosen.target:
        parse_target(chosen.target)
    if chosen.http_filter is not None:
        compile_filter(chosen.http_filter)
    aside = f"; left aside, inpod does without: {', '.join(content.aside)}" if content.aside else ""
    return f"can be used{aside}." + ("" if chosen.target else " It names no target: give one by -t.")
