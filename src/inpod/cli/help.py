"""How help and complaints about the command line look."""

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import NoReturn

from inpod.cli.output import put
from inpod.config.mirrord import COMMANDS_NOT_YET, OPTIONS_NOT_YET
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
    """Says what is wrong as all of inpod does: one line, with a hint.

    Options have to be written out: an abbreviation that works today would mean another option tomorrow, or none.
    """

    def __init__(self, *, prog: str, usage: str, description: str, epilog: str | None = None) -> None:
        super().__init__(prog, usage, description, epilog, add_help=False, allow_abbrev=False, formatter_class=Help)

    def parse_known_args(  # type: ignore[override]  # argparse has overloads for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Return the options. What is unknown is refused here: argparse would have the parser of all commands do so.

        Raises:
            UserError: They are wrong.
        """
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            raise self.unknown(unknown[0])
        return known, unknown

    def unknown(self, given: str) -> UserError:
        """Return what is to be said about an option or argument that the command does not have."""
        name = given.partition("=")[0]
        if not name.startswith("-"):
            return UserError(f"{self.prog} has no use for '{given}'.", hint=self._see)
        if self.prog == "inpod exec" and (instead := OPTIONS_NOT_YET.get(name)):
            return UserError(f"mirrord's option '{name}' is not there yet in inpod.", hint=instead)
        return UserError(f"{self.prog} has no option '{name}'.", hint=_nearest(name, self.long_options()) + self._see)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            UserError: Always.
        """
        text = message.removeprefix("argument ")
        text = re.sub(": expected one argument$", " needs a value", text)
        text = re.sub(": ignored explicit argument (.*)$", r" takes no value: \1", text)
        raise UserError(f"{text[:1].upper()}{text[1:]}.", hint=self._see)

    def has_option(self, name: str) -> bool:
        """Return whether `name` is an option of the command itself."""
        return name in self._option_string_actions

    @property
    def _see(self) -> str:
        return f"See '{self.prog} --help'."

    def long_options(self) -> list[str]:
        """Return the options that the command has."""
        return [name for name in self._option_string_actions if name.startswith("--")]

    def _check_value(self, action: argparse.Action, value: str) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = list(action.choices)
        if isinstance(action, argparse._SubParsersAction):
            if value in COMMANDS_NOT_YET:
                raise UserError(f"mirrord's command '{value}' is not there yet in inpod.", hint=self._see)
            hint = _nearest(value, choices) or f"There are: {', '.join(choices)}. "
            raise UserError(f"{self.prog} has no command '{value}'.", hint=hint + self._see)
        raise UserError(
            f"{action.option_strings[-1]} cannot be '{value}'.", hint=f"It is one of {', '.join(choices)}. {self._see}"
        )

    def _print_message(self, message: str, file: object = None) -> None:
        # argparse takes a full disk for a success.
        put(message)


def _nearest(given: str, known: list[str]) -> str:
    """Return the question whether a known word is meant, with a space at its end; "" where none is near."""
    starts = [word for word in known if word.startswith(given)] if len(given) > len("--") else []
    near = starts[:1] or difflib.get_close_matches(given, known, 1)
    return f"Did you mean {near[0]}? " if near else ""
