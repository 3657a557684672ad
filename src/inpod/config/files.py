"""`feature.fs`: whose files the program reads. The key is mirrord's; everywhere else the feature is named files."""

import os
import re
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta

from inpod.config.section import Section
from inpod.errors import UserError

PLACE = "feature.fs"

FilesMode = Literal["read", "local", "localwithoverrides"]

_TREE = re.compile(r"\^?(?P<path>/(?:[\w@%=:,~ /.-]|\\[.+\-/])+?)(?:/|/\.[*+])?\$?")
"""A pattern that means a file, or a folder and all that is in it."""


class Files(Section, frozen=True):
    """A bare string is the mode; true is "read", false is "local"."""

    mode: Annotated[
        str,
        Meta(
            description='As `--fs-mode`: "read" (the target\'s files are read, writes stay here), "localwithoverrides" (this '
            "machine's but for the target's mounts, `read_only` and its view of the network, as `/etc/hosts`) or \"local\"."
        ),
    ] = "read"
    read_only: Annotated[
        str | list[str] | None,
        Meta(
            description="Files and folders that are read from the target though they would be this machine's: `/etc/app/.*`. "
            "Of the patterns that mirrord takes, those of a whole folder or of a file."
        ),
    ] = None
    local: Annotated[
        str | list[str] | None, Meta(description="Likewise, that are this machine's though they would be the target's.")
    ] = None


class Trees(NamedTuple):
    """Paths, absolute and normalised, each with all below it. The longest decides; of equals that of this machine.

    Attributes:
        pod: Read from the pod.
        here: This machine's, also where the pod has a mount in them.
    """

    pod: tuple[str, ...] = ()
    here: tuple[str, ...] = ()


def files_mode(value: Files | str | bool) -> FilesMode:
    """Return the mode that `value` stands for.

    Raises:
        UserError: There is no such mode (yet).
    """
    if isinstance(value, Files):
        value = value.mode
    match value:
        case True | "read":
            return "read"
        case "localwithoverrides":
            return "localwithoverrides"
        case False | "local":
            return "local"
        case "write":
            raise UserError(
                f"The files mode 'write' ({PLACE}, --fs-mode) is not there yet.",
                hint="Use 'read' (the target's files are read, writes stay here), 'localwithoverrides' or 'local'.",
            )
    raise UserError(
        f"There is no files mode '{value}' ({PLACE}, --fs-mode).", hint="Use 'read', 'localwithoverrides' or 'local'."
    )


def file_trees(value: Files | str | bool) -> Trees:
    """Return what `value` says of single files and folders.

    Raises:
        UserError: A pattern is not that of a folder or file.
    """
    if not isinstance(value, Files):
        return Trees()
    return Trees(_trees(value.read_only, "read_only"), _trees(value.local, "local"))


def _trees(given: str | list[str] | None, key: str) -> tuple[str, ...]:
    patterns = [given] if isinstance(given, str) else given or []
    return tuple(
        _tree(pattern, f"{PLACE}.{key}" + ("" if isinstance(given, str) else f"[{at}]"))
        for at, pattern in enumerate(patterns)
    )


def _tree(pattern: str, place: str) -> str:
    found = _TREE.fullmatch(pattern)
    path = os.path.normpath(found["path"].replace("\\", "")) if found else ""
    if found is None or path == "/":
        raise UserError(
            f"{place}: '{pattern}' is not there yet: it means no single folder or file.",
            hint=r"Write a path, as '/etc/app/.*' or '/srv/a\.yaml'; a part of one, or an end such as '.+\.js', cannot be said.",
        )
    return path
