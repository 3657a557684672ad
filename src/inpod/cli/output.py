"""What inpod itself says: on standard output all of it or a failure, on standard error what there is room for."""

import contextlib
import json
import os
import sys
from typing import Literal, TextIO, TypedDict

from inpod.errors import ExitCode, UserError


class ReaderGone(Exception):
    """Whoever read standard output has enough."""


def put(text: str) -> None:
    """Write `text` to standard output, to the end.

    Raises:
        ReaderGone: It is a pipe that nobody reads any more.
        UserError: There is no room, or the device fails.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        # What the terminal cannot show is shown as an escape, and stops nothing: a name, the dots of a long command.
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        forget(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from None
        raise UserError(
            f"Cannot write to standard output: {error.strerror}.",
            hint="Look at where the output goes.",
            exit_code=ExitCode.OUTPUT,
        ) from None


def say(text: str) -> None:
    """Write a line to standard error; that nobody can read it stops nothing."""
    # One write for a line: the program writes to the same place.
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def forget(stream: TextIO) -> None:
    """Drop what `stream` could not write: at its end Python would try again, and exit with a status of its own (120)."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def in_words(error: UserError) -> str:
    """Return what is wrong and what to do in one line, and below it the place where there is one to show."""
    return "\n".join(filter(None, (f"inpod: {error.line}", error.shown)))


class Failure(TypedDict):
    """What is wrong: inpod did not start the program, or could not go on with it.

    Comes last.

    Attributes:
        text: What is wrong, for people.
        hint: What to do next, for people.
        shown: The place of a mistake, several lines to be shown below; "" for none.
        exit_code: What inpod ends with.
    """

    event: Literal["Failure"]
    text: str
    hint: str
    shown: str
    exit_code: int


def as_json(error: UserError) -> str:
    """Return what is wrong for `--progress json`."""
    said = Failure(
        event="Failure", text=error.message, hint=error.hint, shown=error.shown, exit_code=int(error.exit_code)
    )
    return json.dumps(said)
