"""What the user can fix, as one exception, and the exit codes of inpod itself."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit statuses of inpod's own failures; otherwise the program's own status is passed on.

    Source of docs/reference/exit-codes.md.
    """

    USAGE = 64
    """A wrong option, target form or configuration."""
    TARGET_NOT_FOUND = 65
    """No such context, namespace, workload, pod, container or process."""
    TARGET_NOT_READY = 66
    """The target exists but does not run."""
    CLUSTER_UNREACHABLE = 67
    """The API server does not answer, the credentials are refused, or the kubeconfig cannot be used."""
    NO_PERMISSION = 68
    """A right is missing, in the cluster (verb and resource are named) or on this machine."""
    AGENT_START = 69
    """The agent did not start: image, admission, quota, time."""
    NO_MEANS = 70
    """The kernel, the pod or this machine lacks what is needed (for instance stealing, or room for the session's folder)."""
    NOT_INTERCEPTABLE = 71
    """Nothing reaches the program: 32-bit, set-id, or the kernel refuses what its kind needs."""
    AGENT_LOST = 72
    """The link to the agent broke and could not be made again."""
    OUTPUT = 73
    """What a command prints cannot be written: no room, for instance. A reader that goes away is no failure."""
    CANNOT_EXECUTE = 126
    """The command is there but cannot be executed, as in a shell."""
    COMMAND_NOT_FOUND = 127
    """The command is not there, as in a shell."""


SHOWN = 74
"""Longest part of a line that is shown with a caret."""

SHOWN_BEFORE = 40
"""Of these, before the caret."""


class UserError(Exception):
    """Something the user can fix.

    Attributes:
        message: What is wrong, and where, in one line.
        hint: The next step to try, as a full sentence.
        exit_code: Process exit status.
        shown: Lines that show the place (see `pointed`), "" for none.
    """

    def __init__(self, message: str, *, hint: str, exit_code: ExitCode = ExitCode.USAGE, shown: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code
        self.shown = shown

    @property
    def line(self) -> str:
        """What is wrong and what to do, in one line."""
        # What others said (a server, an errno) has no full stop.
        stop = "" if self.message.endswith((".", "!", "?")) else "."
        return f"{self.message}{stop} {self.hint}"


def printable(text: str) -> str:
    """Return others' words as one line that a terminal shows and does not obey: spaces stand for what is not printable."""
    return "".join(character if character.isprintable() else " " for character in text)


def pointed(text: str, at: int) -> str:
    """Return the line of `text` around the character `at`, or the part of it that a terminal has room for, and a caret."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:].partition("\n")[0]
    at -= start
    if len(line) > SHOWN and at > SHOWN_BEFORE:
        line, at = "…" + line[at - SHOWN_BEFORE :], SHOWN_BEFORE + 1
    if len(line) > SHOWN:
        line = line[:SHOWN] + "…"
    return f"    {printable(line).rstrip()}\n    {' ' * at}^"
