"""`feature.fs`: whose files the program reads. The key is mirrord's; everywhere else the feature is named files."""

from typing import Annotated, Literal

from msgspec import Meta

from inpod.config.section import Section
from inpod.errors import UserError

FilesMode = Literal["read", "local"]
MODES = ("local", "read", "write", "localwithoverrides")
"""mirrord's, also those that are not there yet."""


class Files(Section, frozen=True):
    """A bare string is the mode; true is "read", false is "local"."""

    mode: Annotated[
        str,
        Meta(description='As `--fs-mode`: "read" (the target\'s files are read, writes stay here) or "local".'),
    ] = "read"


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
        case False | "local":
            return "local"
        case "write" | "localwithoverrides":
            raise UserError(
                f"The files mode '{value}' (feature.fs, --fs-mode) is not there yet.",
                hint="Use 'read' (the target's files are read, writes stay here) or 'local'.",
            )
    raise UserError(f"There is no files mode '{value}' (feature.fs, --fs-mode).", hint="Use 'read' or 'local'.")
