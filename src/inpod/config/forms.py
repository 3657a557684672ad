"""The forms of a configuration file: JSON, and by the end of its name YAML or TOML."""

import msgspec

from inpod.config.mistakes import no_json
from inpod.errors import UserError, pointed


def is_json(name: str) -> bool:
    """Return whether a file of this name has JSON in it."""
    return not name.lower().endswith((".toml", ".yaml", ".yml"))


def decode(name: str, text: str) -> object:
    """Return what `text` says, as JSON would have it.

    Args:
        name: Of the file.

    Raises:
        UserError: It is not in its form; with the place.
    """
    if is_json(name):
        return _json(name, text)
    return _toml(name, text) if name.lower().endswith(".toml") else _yaml(name, text)


def _json(name: str, text: str) -> object:
    import json

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                raise UserError(f"{name}: the key '{key}' stands twice in an object.", hint="Keep one of them.")
            found[key] = value
        return found

    try:
        msgspec.json.decode(text)  # stricter than Python's, which alone tells of keys that are there twice
        return json.loads(text, object_pairs_hook=once)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise no_json(name, text) from None


def _toml(name: str, text: str) -> object:
    import re
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        why, _, place = str(error).partition(" (at ")
        found = re.match(r"line (\d+), column (\d+)", place)
        line, column = (int(found[1]), int(found[2])) if found else (text.count("\n") + 1, 1)
        raise _wrong(name, text, line - 1, column - 1, "TOML", why) from None


WORDS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
)
"""What is no string, by the core schema of YAML 1.2, and how it may begin. PyYAML by itself is of 1.1: `off` is false there, and
a date no string."""


def _yaml(name: str, text: str) -> object:
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        """Knows no words but those, and no key twice."""

        def compose_mapping_node(self, anchor: dict[object, yaml.Node]) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        why = f"the key '{key.value}' stands twice"
                        raise yaml.composer.ComposerError(None, None, why, key.start_mark)
                    seen.add(key.value)
            return node

    Loader.yaml_implicit_resolvers = {}
    for kind, pattern, starts in WORDS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), list(starts))
    try:
        content = yaml.load(text, Loader)  # noqa: S506 # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        raise _wrong(name, text, line, column, "YAML", error.problem or "it cannot be read") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        raise _wrong(name, text, 0, 0, "YAML", str(error).partition("\n")[0]) from None
    return {} if content is None else content


def _wrong(name: str, text: str, line: int, column: int, form: str, why: str) -> UserError:
    starts = [0, *(at + 1 for at, character in enumerate(text) if character == "\n")]
    at = min(starts[min(line, len(starts) - 1)] + column, len(text))
    return UserError(
        f"{name}:{line + 1} is no {form}: {why[:1].lower()}{why[1:]}.",
        hint="Correct it; by its name it is read as " + form + ".",
        shown=pointed(text, at),
    )
