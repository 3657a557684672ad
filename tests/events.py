"""The events of `--progress json`, as one reads them who goes by docs/reference/events.md."""

import functools
import json
import re
from pathlib import Path

Json = dict[str, object]

PAGE = Path(__file__).parents[1] / "docs/reference/events.md"

VALUES = {"string": str, "number": int, "true or false": bool, "null": type(None), "list of strings": list}


@functools.cache
def documented() -> dict[str, dict[str, str]]:
    """Return the fields of each event, and what kind of value each has."""
    parts = re.split(r"^## (\w+)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    return {
        name: dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", text, re.MULTILINE))
        for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def read(line: str) -> Json:
    """Return the event that a line is; it must be as the page says."""
    event: Json = json.loads(line)
    name = str(event["event"])
    fields = documented()[name]
    assert event.keys() == {"event", *fields}, name
    for field, kind in fields.items():
        value = event[field]
        assert any(_is(value, each) for each in kind.split(" or ")), f"{name}.{field}: {value!r}, not {kind}"
    return event


def _is(value: object, kind: str) -> bool:
    return f"`{json.dumps(value)}`" == kind if kind.startswith("`") else type(value) is VALUES[kind]
