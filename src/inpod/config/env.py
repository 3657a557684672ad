"""`feature.env`: which variables the program gets, and from where."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta

from inpod.config.env_file import read_env_file
from inpod.config.section import Section
from inpod.errors import UserError, pointed

NONE = ""
"""A list of globs that no name matches."""

PLACE = "feature.env"


class Env(Section, frozen=True, rename={"overrides": "override"}):
    """true: all that do not belong to the machine; false: none. Of `include` and `exclude` one at most."""

    include: Annotated[
        str | list[str] | None, Meta(description="As `-s`: only these. Globs with `*` and `?`, a list or `A;B`.")
    ] = None
    exclude: Annotated[str | list[str] | None, Meta(description="As `-x`: all but these.")] = None
    env_file: Annotated[
        str | None, Meta(description="As `--env-file`: a file of lines `NAME=VALUE`, which count before the target's.")
    ] = None
    mapping: Annotated[
        dict[str, str] | None,
        Meta(
            description="Values for those variables of target and `env_file` in whose name the regular expression is found; "
            "the first that is."
        ),
    ] = None
    overrides: Annotated[dict[str, str] | None, Meta(description="Variables that count before all others.")] = None
    unset: Annotated[
        str | list[str] | None,
        Meta(
            description="Names that the program does not have, whosever they are. Case does not count; a list or `A;B`."
        ),
    ] = None


class EnvFilter(NamedTuple):
    """Which of the target's variables the program gets, and what else.

    Attributes:
        include, exclude: Globs ("A*;B"); None where there is no list.
        file: Variables that count before the target's.
        mapping: Regular expressions of names, and the value that each gives.
        overrides: Variables that count before all.
        unset: Names in capital letters.
    """

    include: str | None = None
    exclude: str | None = None
    file: Mapping[str, str] = {}  # nobody writes to it
    mapping: tuple[tuple[str, str], ...] = ()
    overrides: Mapping[str, str] = {}  # nobody writes to it
    unset: frozenset[str] = frozenset()


def as_filter(
    value: Env | bool, *, include: str | None = None, exclude: str | None = None, file: Path | None = None
) -> EnvFilter:
    """Return what `value` stands for.

    Args:
        include, exclude: Of the command line: one replaces both lists, else -s could not be used with a file that excludes.
        file: Of the command line: instead of `env_file`.

    Raises:
        UserError: Both lists are given, an expression is none, or the file of variables cannot be read.
    """
    if isinstance(value, bool):
        value = Env() if value else Env(include=NONE)
    if include is None and exclude is None:
        include, exclude = _joined(value.include), _joined(value.exclude)
    if include is not None and exclude is not None:
        raise UserError(
            "The target's variables can be included or excluded, not both.",
            hint=f"Keep one of {PLACE}.include (-s) and {PLACE}.exclude (-x).",
        )
    if file is None and value.env_file is not None:
        file = Path(value.env_file)
    overrides, mapping = value.overrides or {}, value.mapping or {}
    for key, given in (("override", overrides), ("mapping", mapping)):
        for name, text in given.items():
            if "\0" in text:
                raise UserError(f"{PLACE}.{key}: the value of '{name}' has a NUL in it.", hint="Remove it.")
    for name in overrides:
        if not name or "=" in name or "\0" in name:
            raise UserError(f"{PLACE}.override: '{name}' cannot be a variable's name.", hint="Names have no '='.")
    return EnvFilter(
        include,
        exclude,
        read_env_file(file) if file is not None else {},
        tuple((_expression(text), to) for text, to in mapping.items()),
        overrides,
        frozenset(name.strip().upper() for name in (_joined(value.unset) or "").split(";") if name.strip()),
    )


def _joined(value: str | list[str] | None) -> str | None:
    return ";".join(value) if isinstance(value, list) else value


def _expression(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # of [[:alpha:]], which means something else in Python
            re.compile(text)
    except (re.error, FutureWarning) as error:
        raise UserError(
            f"{PLACE}.mapping: {str(error).partition(' at position ')[0]}.",
            hint="Correct the regular expression; it is one of Python's.",
            shown=pointed(text, getattr(error, "pos", None) or 0),
        ) from None
    return text
