"""What is wrong in a configuration file, said with the place and the nearest right key."""

import difflib
import re

import msgspec

from inpod.config.mirrord import NOT_YET
from inpod.config.schema import File
from inpod.config.section import Section
from inpod.errors import UserError

REFERENCE = "docs/reference/config.md"


def invalid(name: str, message: str) -> UserError:
    """Turn msgspec's words (``Object contains unknown field `x` - at `$.y` ``) into ours."""
    found = re.search(r"at `\$\.?([^`]*)`", message)
    place = found.group(1) if found else ""
    unknown = re.search(r"unknown field `([^`]+)`", message)
    if unknown is None:
        what = message.split(" - at")[0]
        return UserError(f"{name}: {place or 'the file'}: {what}.", hint=f"See {REFERENCE}.")
    key = unknown.group(1)
    where = f"{place}.{key}" if place else key
    if key in NOT_YET.get(place, ()):
        return UserError(
            f"{name}: mirrord's key '{where}' is not there yet in inpod.",
            hint=f"Remove it; the keys that are there are in {REFERENCE}.",
        )
    return UserError(f"{name}: there is no key '{where}'.", hint=_nearest(key, place))


def _nearest(key: str, place: str) -> str:
    places = keys()
    if near := difflib.get_close_matches(key, [known.rpartition(".")[2] for known in places.get(place, ())], 1):
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
            name = f"{place}.{field.name}" if place else field.name
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
