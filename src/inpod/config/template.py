"""Templates in a configuration: `{{ key }}`, `{{ git_branch }}`, `{{ get_env(name="X", default="y") }}`, with a few filters.

They are the part of Tera (mirrord's) that configurations use. As there, the file is a text in which values are put before it is
read as JSON, YAML or TOML; a value is put in as it is. `{# … #}` is left out.
"""

import re
import subprocess
from collections.abc import Callable, Mapping
from typing import NamedTuple

from inpod.config.mirrord import BRANCH
from inpod.errors import UserError, pointed

GIT_LIMIT_S = 10.0
"""Longest that git may take to name the branch."""

_TAG = re.compile(r"\{\{-?(.*?)-?\}\}|\{#.*?#\}|\{%.*?%\}", re.DOTALL)
_STRING = r"""(?:"[^"]*"|'[^']*'|`[^`]*`)"""
_CALL = re.compile(rf"\s*(\w+)\s*(?:\(((?:\s*+\w+\s*+=\s*+{_STRING}\s*+,?+)*+)\s*+\))?\s*(?:\||$)")
_ARGUMENT = re.compile(rf"(\w+)\s*=\s*({_STRING})")

FILTERS: dict[str, Callable[[str, Mapping[str, str]], str]] = {
    "default": lambda value, _: value,
    "lower": lambda value, _: value.lower(),
    "upper": lambda value, _: value.upper(),
    "trim": lambda value, _: value.strip(),
    "replace": lambda value, given: value.replace(given.get("from", ""), given.get("to", "")),
}

ARGUMENTS = {"get_env": {"name", "default"}, "default": {"value"}, "replace": {"from", "to"}}
"""What a function or filter may be given."""


class Values(NamedTuple):
    """What templates may name.

    Attributes:
        key: None: not given.
        environment: Of inpod itself.
    """

    key: str | None
    environment: Mapping[str, str]


class _Unknown(Exception):
    """A template without a value: why, and what to do."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint or (
            'There are {{ key }}, {{ git_branch }} and {{ get_env(name="X", default="y") }}, '
            f"with the filters {', '.join(FILTERS)}."
        )


def has_templates(text: str) -> bool:
    """Return whether there is a template in `text`."""
    return _TAG.search(text) is not None


def names_key(text: str) -> bool:
    """Return whether `{{ key }}` is in `text`."""
    return re.search(r"\{\{-?\s*key\b", text) is not None


def render(name: str, text: str, values: Values) -> str:
    """Return `text` with its templates filled in.

    Args:
        name: Of the file, for errors.

    Raises:
        UserError: A template has no value, or is not one of those that are read; with the place.
    """

    def fill(found: "re.Match[str]") -> str:
        if found[1] is None:
            if found[0].startswith("{#"):
                return "\n" * found[0].count("\n")
            raise _wrong(name, text, found.start(), _Unknown("no value for {% … %}"))
        try:
            return _value(found[1], values)
        except _Unknown as error:
            raise _wrong(name, text, found.start(), error) from None

    return _TAG.sub(fill, text)


def _value(expression: str, values: Values) -> str:
    (called, given), *filters = _calls(expression)
    value, missing = _named(called, given, values)
    for called, given in filters:
        if called not in FILTERS:
            raise _Unknown(f"the filter '{called}' of a template is not there")
        if value is not None:
            value = FILTERS[called](value, given)
        elif called == "default":
            value = given.get("value")
    if value is None:
        raise missing
    return value


def _named(called: str, given: Mapping[str, str], values: Values) -> tuple[str | None, _Unknown]:
    """Return a value, and what to say when there is none."""
    match called:
        case "key" if not given:
            missing = _Unknown("there is no key", 'Give one by -k KEY, or by "key" in the file.')
            return values.key, missing
        case "git_branch" if not given:
            hint = f"Set {BRANCH}, or write {{{{ git_branch | default(value='shared') }}}}."
            return values.environment.get(BRANCH) or _branch(), _Unknown("git names no branch here", hint)
        case "get_env" if "name" in given:
            variable = given["name"]
            missing = _Unknown(f"the variable {variable} is not set", "Set it, or give get_env a default.")
            return values.environment.get(variable, given.get("default")), missing
    raise _Unknown(f"no value for '{called}' in a template")


def _calls(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Return the parts of `a(x="1") | b`, each with what it is given."""
    found: list[tuple[str, dict[str, str]]] = []
    expression, at = expression.strip(), 0
    while at < len(expression):
        match = _CALL.match(expression, at)
        if match is None:
            raise _Unknown(f"no value for '{' '.join(expression[at:].split())[:40]}' in a template")
        given = {key: value[1:-1] for key, value in _ARGUMENT.findall(match[2] or "")}
        if more := set(given) - ARGUMENTS.get(match[1], set()):
            raise _Unknown(f"'{match[1]}' of a template takes no '{min(more)}'")
        found.append((match[1], given))
        at = match.end()
    if not found:
        raise _Unknown("there is nothing in a template")
    return found


def _branch() -> str | None:
    """Return the branch of the working directory; None where there is none, or no git."""
    command = ["git", "symbolic-ref", "--short", "--quiet", "HEAD"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=GIT_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _wrong(name: str, text: str, at: int, error: _Unknown) -> UserError:
    return UserError(f"{name}:{text.count(chr(10), 0, at) + 1}: {error.why}.", hint=error.hint, shown=pointed(text, at))
