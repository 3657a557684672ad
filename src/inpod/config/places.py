"""Where something stands in a JSON text."""

import json
import re

_SPACE = re.compile(r"[ \t\n\r]*")

_value = json.JSONDecoder().raw_decode


def locate(text: str, place: str, key: str = "") -> int | None:
    """Return the index of the value at `place`, or of its member `key`; None where that is not found.

    Args:
        text: JSON, at least up to there.
        place: Names of keys and indices: "feature.network.incoming.ports[0]"; "" is the whole.
        key: Of the object at `place`.
    """
    try:
        at = _skip(text, 0)
        for step in re.findall(r"[^.\[\]]+", place):
            at = _item(text, at, int(step)) if text[at] == "[" else _member(text, at, step)[1]
        return _member(text, at, key)[0] if key else at
    except (ValueError, IndexError, StopIteration, RecursionError):
        return None


def _member(text: str, at: int, key: str) -> tuple[int, int]:
    """Return where the key and where its value stand in the object at `at`."""
    while text[at] in "{,":
        name_at = _skip(text, at + 1)
        name, at = _value(text, name_at)
        value_at = _skip(text, _skip(text, at) + 1)
        if name == key:
            return name_at, value_at
        at = _skip(text, _value(text, value_at)[1])
    raise ValueError(key)


def _item(text: str, at: int, number: int) -> int:
    """Return where an item of the list at `at` stands."""
    for _ in range(number):
        at = _skip(text, _value(text, _skip(text, at + 1))[1])
        if text[at] != ",":
            raise IndexError(number)
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    """Return the index of what follows white space."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
