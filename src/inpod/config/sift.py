"""Takes out of a configuration what says nothing, and what mirrord needs and inpod does without."""

from typing import NamedTuple

import msgspec

from inpod.config.mirrord import is_agent_of_mirrord, sort_keys
from inpod.config.mistakes import section_of
from inpod.config.section import Section


class Sifted(NamedTuple):
    """What is left of a configuration.

    Attributes:
        content: Without keys of mirrord's that inpod does not have, and without null, which says nothing in mirrord.
        aside: Full names of keys that were left aside and said something.
        missing: Full names of keys that cannot be left aside.
    """

    content: object
    aside: list[str]
    missing: list[str]


def sift(content: object, section: type[Section], place: str = "") -> Sifted:
    """Return what of `content`, an object of `section`, is inpod's. What is nobody's is left in it.

    Args:
        place: Full name of the object.
    """
    if not isinstance(content, dict):
        return Sifted(content, [], [])
    fields = {field.encode_name: field for field in msgspec.structs.fields(section)}
    keys = sort_keys(content, place)
    kept: dict[object, object] = {}
    aside = [_full(place, key) for key in keys.aside if content[key] is not None]
    missing = [_full(place, key) for key in keys.missing]
    for key, value in content.items():
        if key in keys.aside or key in keys.missing or (value is None and key in fields):
            continue
        inner = section_of(fields[key].type) if key in fields else None
        full = _full(place, key)
        if full == "agent.image" and is_agent_of_mirrord(value):
            aside.append(full)
            continue
        sifted = sift(value, inner, full) if inner else Sifted(value, [], [])
        kept[key] = sifted.content
        aside += sifted.aside
        missing += sifted.missing
    return Sifted(kept, aside, missing)


def _full(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
