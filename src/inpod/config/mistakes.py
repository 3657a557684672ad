"""What is wrong in a configuration file, said in JSON's words, with the place and the nearest right key."""

import difflib
import json
import re
from typing import Literal, get_args, get_origin

import msgspec

from inpod.config.mirrord import INSTEAD
from inpod.config.places import locate
from inpod.config.schema import File
from inpod.config.section import Section
from inpod.errors import UserError, pointed

REFERENCE = "docs/reference/config.md"

_WORDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
"""What msgspec's types are in JSON; YAML and TOML have others, as date."""

_BOUNDS = {">=": "of {} or more", "<=": "of {} or less", ">": "above {}"}


def no_json(name: str, text: str) -> UserError:
    """Say where `text` is not JSON."""
    if not text.strip():
        return UserError(f"{name} is empty.", hint="Write at least {} into it.")
    at, why = len(text), "it ends too early"
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        at, why = error.pos, error.msg[:1].lower() + error.msg[1:]
    except (RecursionError, ValueError):
        at, why = 0, "it is nested too deeply, or has a number of thousands of digits"
    return UserError(
        f"{_at_line(name, text, at)} is no JSON: {why}.",
        hint="Correct it; JSON has no comments, and no comma after the last of a list.",
        shown=pointed(text, at),
    )


def invalid(name: str, text: str, message: str) -> UserError:
    """Turn msgspec's words (``Object contains unknown field `x` - at `$.y` ``) about `text` into ours.

    Args:
        text: JSON; "" for other forms, whose lines are not told.
    """
    found = re.search(r" - at (`key` in )?`\$\.?(.*)`$", message)
    place = found.group(2) if found else ""
    what = message[: found.start()] if found else message
    unknown = re.search(r"unknown field `(.+)`$", what)
    key = unknown.group(1) if unknown else ""
    at = locate(text, place, key) if text else None
    where = name if at is None else _at_line(name, text, at)
    shown = "" if at is None else pointed(text, at)
    if found and found.group(1):
        return UserError(
            f"{where}: {place or 'the file'}'s keys must be strings.", hint=f"See {REFERENCE}.", shown=shown
        )
    if not key:
        return UserError(
            f"{where}: {place or 'the file'} {_wants(what, place)}.", hint=f"See {REFERENCE}.", shown=shown
        )
    full = f"{place}.{key}" if place else key
    return UserError(f"{where}: there is no key '{full}'.", hint=_nearest(key, place), shown=shown)


def missing(name: str, text: str, found: list[str]) -> UserError:
    """Say that keys of mirrord's are not there: the first with its place in `text` (as `invalid`), the others by name."""
    first, *others = found
    place, _, key = first.rpartition(".")
    at = locate(text, place, key)
    also = f" Nor {'is' if len(others) == 1 else 'are'} {', '.join(map(repr, others))}." if others else ""
    hints = [f"{full.rpartition('.')[2]}: {INSTEAD[full]}" for full in found if full in INSTEAD]
    if not others and hints:
        hints = [INSTEAD[first]]
    if len(hints) < len(found):
        what = "the others" if hints else "them" if others else "it"
        hints.append(f"Remove {what}: the keys that are there are in {REFERENCE}.")
    return UserError(
        f"{name if at is None else _at_line(name, text, at)}: mirrord's key '{first}' is not there yet in inpod.{also}",
        hint=" ".join(hints),
        shown="" if at is None else pointed(text, at),
    )


def _at_line(name: str, text: str, at: int) -> str:
    return f"{name}:{text.count(chr(10), 0, at) + 1}"


def _wants(what: str, place: str) -> str:
    """Return what must be at `place`, by msgspec's words."""
    if found := re.fullmatch(r"Expected `([^`]+)`, got `(\w+)`", what):
        kinds = [_WORDS[kind] for kind in found[1].split(" | ") if kind != "null"]
        is_fraction = "int" in found[1] and found[2] == "float"
        given = "one with a fraction" if is_fraction else _WORDS.get(found[2], f"a {found[2]}").replace("whole ", "")
        return f"must be {' or '.join(kinds)}, not {given}"
    if found := re.fullmatch(r"Expected `(int|float)` (>=|<=|>) (\S+)", what):
        return f"must be {_WORDS[found[1]]} {_BOUNDS[found[2]].format(f'{float(found[3]):g}')}"
    if found := re.fullmatch(r"Expected `array` of length (\d+), got \d+", what):
        return f"must be a list of {found[1]}"
    if found := re.fullmatch(r"Invalid enum value '(.*)'", what):
        return f"cannot be '{found[1]}'; it is one of {', '.join(map(repr, _choices(place)))}"
    if found := re.fullmatch(r"Object missing required field `(.+)`", what):
        return f"lacks the key '{found[1]}'"
    return f"cannot be: {what[:1].lower()}{what[1:]}"


def _choices(place: str) -> list[str]:
    """Return the words that the value at `place` is one of."""
    annotation: object = File
    for name in re.sub(r"\[\d+\]", "", place).split("."):
        section = section_of(annotation)
        fields = msgspec.structs.fields(section) if section else ()
        annotation = next((field.type for field in fields if field.encode_name == name), None)
    return _literals(annotation)


def _literals(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return [word for part in get_args(annotation) for word in _literals(part)]


def _nearest(key: str, place: str) -> str:
    places = keys()
    here = re.sub(r"\[\d+\]", "", place)
    if near := difflib.get_close_matches(key, [known.rpartition(".")[2] for known in places.get(here, ())], 1):
        return f"Did you mean '{near[0]}'?"
    elsewhere = {known.rpartition(".")[2]: known for there in places.values() for known in there}
    if near := difflib.get_close_matches(key, list(elsewhere), 1):
        return f"Did you mean '{elsewhere[near[0]]}'?"
    return f"The keys are in {REFERENCE}."


def keys() -> dict[str, list[str]]:
    """Return the full names of all keys, by the place of the object that has them."""
    found: dict[str, list[str]] = {}

    def collect(section: type[Section], place: str) -> None:
        found[place] = []
        for field in msgspec.structs.fields(section):
            name = f"{place}.{field.encode_name}" if place else field.encode_name
            found[place].append(name)
            if inner := section_of(field.type):
                collect(inner, name)

    collect(File, "")
    return found


def section_of(annotation: object) -> type[Section] | None:
    """Return the section that a field's type has among its forms."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Section) else None
    for part in getattr(annotation, "__args__", ()):
        if found := section_of(part):
            return found
    return None
