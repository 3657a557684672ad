"""The entry: finds the command, runs it, and says what went wrong in one line."""

import argparse
import os
import sys
from collections.abc import Sequence

import inpod
from inpod.cli import demo, ls, status, verify_config
from inpod.cli import exec as exec_
from inpod.cli.help import Parser
from inpod.cli.output import ReaderGone, as_json, forget, in_words, say
from inpod.errors import UserError

DESCRIPTION = "Run a local program as if it stood inside a pod of your Kubernetes cluster."

EPILOG = "Start with 'inpod demo': it needs no cluster. 'inpod COMMAND --help' says more about each command."

BUG = 1
"""As Python itself."""

INTERRUPTED = 130
"""As a shell says it of a program that Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `inpod`; return its exit status."""
    _hold_places()
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        say(in_words(error))
        return error.exit_code
    except ReaderGone:
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:
        import traceback

        say(f"{traceback.format_exc()}inpod: This is a fault of inpod. Please report it with the lines above.")
        return BUG
    finally:
        forget(sys.stderr)
    return status


def _hold_places() -> None:
    """Take the places of standard streams that are closed: nothing of ours must come there. The program's stay closed."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 # until our end


def _run(arguments: Sequence[str]) -> int:
    try:
        options = parse(arguments)
    except SystemExit:  # --help and --version have been answered
        return 0
    _check_platform(sys.platform)
    try:
        return int(options.run(options))
    except UserError as error:
        if getattr(options, "progress", "") != "json":
            raise
        say(as_json(error))
        return error.exit_code


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; `run` is the function to call with them.

    Raises:
        UserError: They are wrong.
    """
    # Everything after the first `--` is the program's, whatever it looks like.
    arguments = list(arguments)
    program: list[str] | None = None
    if arguments[:1] == ["exec"] and "--" in arguments:
        split = arguments.index("--")
        arguments, program = arguments[:split], arguments[split + 1 :]
    whole = parser()
    # Else the value of an option that stands before the command would be taken for the command.
    if arguments and arguments[0].startswith("-") and not whole.has_option(arguments[0]):
        raise whole.unknown(arguments[0])
    options = whole.parse_args(arguments)
    before = getattr(options, "command", [])
    if before and before[0].startswith("-"):
        raise options.parser.unknown(before[0])
    # mirrord's form: CMD -- ARGS.
    if before and program is not None and _is_program(before[0]) and not any(word.startswith("-") for word in before):
        program = [*before, *program]
        options.before_dashes = len(before)
    elif before and program is not None:
        raise UserError(
            f"'{before[0]}' is no option of inpod exec.",
            hint="Write the program at the end: inpod exec -t TARGET [OPTION ...] -- CMD ARGS.",
        )
    if program is not None:
        options.command = program
    options.is_divided = program is not None
    return options


def _is_program(name: str) -> bool:
    from shutil import which

    return which(name) is not None


def parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="inpod",
        usage="inpod COMMAND [OPTION ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", prog=parser.prog, required=False, parser_class=Parser
    )
    for command in (exec_, ls, status, verify_config, demo):
        command.add_to(commands)
    other = parser.add_argument_group("other")
    other.add_argument("-h", "--help", action="help", help="show this and exit")
    other.add_argument("--version", action="version", version=f"inpod {inpod.__version__}", help="show it and exit")

    def run_nothing(options: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(run=run_nothing)
    return parser


def _check_platform(platform: str) -> None:
    if platform == "win32":
        raise UserError("inpod does not work on Windows itself yet.", hint="It works in WSL 2, as on Linux.")
    if platform != "linux":
        name = "macOS" if platform == "darwin" else platform
        raise UserError(f"inpod does not work on {name} yet.", hint="It works on Linux, also in a virtual machine.")
