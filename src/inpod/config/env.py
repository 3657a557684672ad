"""`feature.env`: which of the target's variables the program gets."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from inpod.config.section import Section
from inpod.errors import UserError

NONE = ""
"""A list of globs that no name matches."""


class Env(Section, frozen=True):
    """true: all that do not belong to the machine; false: none. Of the two lists one at most."""

    include: Annotated[
        str | list[str] | None, Meta(description="As `-s`: only these. Globs with `*` and `?`, a list or `A;B`.")
    ] = None
    exclude: Annotated[str | list[str] | None, Meta(description="As `-x`: all but these.")] = None


@dataclass(frozen=True, slots=True)
class EnvFilter:
    """Globs ("A*;B"); None where there is no list."""

    include: str | None = None
    exclude: str | None = None

    def __post_init__(self) -> None:
        if self.include is not None and self.exclude is not None:
            raise UserError(
                "The target's variables can be included or excluded, not both.",
                hint="Keep one of feature.env.include (-s) and feature.env.exclude (-x).",
            )


def as_filter(value: Env | bool) -> EnvFilter:
    """Return the filter that `value` stands for.

    Raises:
        UserError: Both lists are given.
    """
    if isinstance(value, bool):
        return EnvFilter() if value else EnvFilter(include=NONE)
    return EnvFilter(_joined(value.include), _joined(value.exclude))


def _joined(value: str | list[str] | None) -> str | None:
    return ";".join(value) if isinstance(value, list) else value
