"""How help and complaints about the command line look."""

import argparse
from typing import NoReturn

from inpod.cli.output import put
from inpod.errors import UserError


class Help(argparse.RawDescriptionHelpFormatter):
    """One line for an option where that is possible; -t TARGET instead of -t TARGET, --target TARGET."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=44, width=110)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {action.metavar or action.dest.upper()}"

    def _format_action(self, action: argparse.Action) -> str:
        # The group's own line, which argparse gives subcommands, says nothing.
        if isinstance(action, argparse._SubParsersAction):
            return self._join_parts([self._format_action(each) for each in self._iter_indented_subactions(action)])
        return super()._format_action(action)


class Parser(argparse.ArgumentParser):
    """Says what is wrong as all of inpod does: one line, with a hint."""

    def _print_message(self, message: str, file: object = None) -> None:
        # argparse takes a full disk for a success.
        put(message)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UserError: Always.
        """
        text = message[:1].upper() + message[1:]
        raise UserError(f"{text}.", hint=f"See '{self.prog} --help'.")
