"""Writes the pages of docs/reference that the code knows best: `python docs/generate.py`; tests/unit checks them."""

import argparse
import ast
import inspect
import json
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec

import inpod.errors
from inpod.cli.main import parser
from inpod.cli.output import Failure
from inpod.config.mistakes import section_of
from inpod.config.schema import File
from inpod.config.section import Section
from inpod.config.template import FILTERS
from inpod.errors import ExitCode
from inpod.launch.environment import ALWAYS_OWN, MACHINES_OWN
from inpod.session.events import Event

REFERENCE = Path(__file__).parent / "reference"

EXAMPLES = Path(__file__).parent / "examples.md"
"""Of configurations: each key is in one of them."""

NATIVE = Path(__file__).parent.parent / "native"

TRAPS = "tracer/src/table.rs"

WHICH = {
    "Always": "all",
    "Given": "with an address",
    "Without": "with a path",
    "SocketError": "of SO_ERROR",
}

TYPES = {"str": "string", "dict": "object of strings", "bool": "true or false", "float": "number", "int": "number"}


def main() -> None:
    """Write all pages."""
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


def pages() -> dict[str, str]:
    """Return the content of each page by its name."""
    return {
        "config.md": config_page(),
        "cli.md": cli_page(),
        "events.md": events_page(),
        "exit-codes.md": exit_codes_page(),
        "intercepted.md": intercepted_page(),
    }


def config_page() -> str:
    """Return the page about the configuration file."""
    lines = [
        "# Configuration file",
        "",
        "`inpod exec -f FILE` reads options from a file in JSON, YAML or TOML. Its keys are mirrord's, for what inpod does; null says nothing. Keys of",
        "mirrord's that inpod does without (`telemetry`, `internal_proxy`, …) are left aside, and a line says so; any other key is an",
        "error that names its place. What the command line says counts before the file, the file before the defaults.",
        "mirrord's variables (`MIRRORD_…`) are not read; what else differs from mirrord: [mirrord.md](../mirrord.md).",
        "",
        'Before the file is read, `{{ key }}` (of `-k` or `key`), `{{ git_branch }}` and `{{ get_env(name="X", default="y") }}` are',
        f"replaced by what they stand for, through filters if any: {', '.join(f'`{name}`' for name in FILTERS)}. So one file",
        "in the repository gives each developer his own requests. Other templates are errors.",
        "",
        "What only a target in a cluster can follow (`kube_context`, `target.namespace`, the agent's `image`, `ephemeral` and",
        "`startup_timeout`) is refused beside a target of this machine. Beside one that `-t` names it is left aside, and a line says so.",
        "",
        "Below: [keys](#keys), [examples](#examples), [variables of this machine](#variables-of-this-machine).",
        "",
        "## Keys",
        "",
        "| Key | Value | Default | Meaning |",
        "|---|---|---|---|",
        *_rows(File, ""),
        "",
        "Where a key may be an object or something shorter:",
        "",
        *_short_forms(File, ""),
        "",
        "## Examples",
        "",
        *EXAMPLES.read_text().splitlines(),
        "",
        "## Variables of this machine",
        "",
        "Variables with these names belong to the machine. They are taken from the target only where `include` has their full name, and",
        f"never those called {', '.join(f'`{name}`' for name in ALWAYS_OWN)}:",
        "",
        *textwrap.wrap(", ".join(f"`{name}`" for name in MACHINES_OWN if name not in ALWAYS_OWN), 118),
        "",
    ]
    return "\n".join(lines)


def cli_page() -> str:
    """Return the page about the command line."""
    whole = parser()
    lines = [
        "# Command line",
        "",
        "Exit codes: [exit-codes.md](exit-codes.md). What `--progress json` writes: [events.md](events.md).",
        "",
    ]
    for command in ("", "exec", "ls", "status", "verify-config", "demo"):
        lines += [f"## inpod {command}".rstrip(), "", "```text", _help(whole, command), "```", ""]
    return "\n".join(lines)


def events_page() -> str:
    """Return the page about what `--progress json` writes, from the docstrings of the events."""
    lines = [
        "# Events",
        "",
        "`inpod exec --progress json` writes what happens to standard error, each event as one line of JSON. The program writes there,",
        'too: inpod\'s lines begin with `{"event": `, and each has all the fields that stand here. Texts for people may change from',
        "version to version; later versions may have more events and fields: pass over what you do not know.",
        "",
    ]
    for event in (*typing.get_args(Event), Failure):
        about, fields = _told(event)
        hints = typing.get_type_hints(event)
        lines += [f"## {event.__name__}", "", *textwrap.wrap(about, 118), ""]
        if fields:
            lines += ["| Field | Value | Meaning |", "|---|---|---|"]
            lines += [f"| `{name}` | {_type_of_field(hints[name])} | {text} |" for name, text in fields.items()]
            lines.append("")
    return "\n".join(lines)


def exit_codes_page() -> str:
    """Return the page about exit codes."""
    lines = [
        "# Exit codes",
        "",
        "`inpod exec` ends as the program did: with its status, or by the same signal. Failures of inpod's own have these:",
        "",
        "| Code | Name | Meaning |",
        "|---|---|---|",
        "| 1 | | `inpod demo`: a check did not hold. Elsewhere a fault of inpod; please report it. |",
        *(f"| {code.value} | {code.name} | {text} |" for code, text in _exit_codes()),
        "| 130 | | Ended by Ctrl-C before the program started. A line says what had failed by then, if anything. |",
        "",
    ]
    return "\n".join(lines)


def intercepted_page() -> str:
    """Return the page about what is intercepted, from the tables of the layer and of the tracer."""
    hooks = (NATIVE / "layer/src/table.rs").read_text().partition("\nhooks! {")[2].partition("\n}\n")[0]
    calls = (NATIVE / TRAPS).read_text().partition("\ncalls! {")[2].partition("\n}\n")[0]
    lines = [
        "# What is intercepted",
        "",
        "How: [interceptors](../how-it-works/interceptors.md). Everything else is the kernel's and libc's own.",
        "",
        "## By the layer: functions of libc",
        "",
    ]
    for part in re.split(r"\n    // ", hooks)[1:]:
        title, _, text = part.partition("\n")
        names = ", ".join(f"`{name}`" for name in re.findall(r"fn (\w+)\(", text))
        lines += [*textwrap.wrap(f"- {title.rstrip('.')}: {names}", 118, subsequent_indent="  ")]
    lines += ["", "## By the tracer: system calls", "", "| Call | Part | Which |", "|---|---|---|"]
    for name, part, when in re.findall(r"(\w+) SYS_\w+ (\w+) When::(\w+)", calls):
        lines.append(f"| `{name}` | {part.lower()} | {WHICH[when]} |")
    rings = ", ".join(f"`{name}`" for name in re.findall(r"SYS_(io_uring_\w+)", (NATIVE / TRAPS).read_text()))
    lines += ["", f"Answered ENOSYS: {rings}. With `--fs-mode local` no call of the part files is trapped.", ""]
    return "\n".join(lines)


def _told(event: type) -> tuple[str, dict[str, str]]:
    """Return what an event's docstring says of it, and of each of its fields."""
    about, _, attributes = inspect.cleandoc(event.__doc__ or "").partition("Attributes:\n")
    fields = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", attributes, re.MULTILINE)
    return " ".join(about.split()), {name: " ".join(text.split()) for name, text in fields}


def _type_of_field(annotation: object) -> str:
    if _name(annotation) == "tuple":
        return "list of strings"
    parts = [annotation] if not isinstance(annotation, types.UnionType) else list(annotation.__args__)
    return " or ".join("null" if part is type(None) else _type_of_part(part) for part in parts)


def _rows(section: type[Section], place: str) -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        name = f"{place}.{field.encode_name}" if place else field.encode_name
        inner = section_of(field.type)
        yield f"| `{name}` | {_type(field.type)} | {_default(field)} | {_description(field.type)} |"
        if inner:
            yield from _rows(inner, name)


def _short_forms(section: type[Section], place: str) -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        name = f"{place}.{field.encode_name}" if place else field.encode_name
        inner = section_of(field.type)
        if inner is None:
            continue
        if len(_parts(field.type)) > 1 and inner.__doc__:
            yield f"- `{name}`: {inner.__doc__[0].lower()}{inner.__doc__[1:]}"
        yield from _short_forms(inner, name)


def _parts(annotation: object) -> list[object]:
    """Return the forms that a field's value may have."""
    base = getattr(annotation, "__origin__", annotation) if hasattr(annotation, "__metadata__") else annotation
    arguments = getattr(base, "__args__", ())
    is_union = type(base).__name__ in ("UnionType", "_UnionGenericAlias", "Union")
    found = [part for argument in arguments for part in _parts(argument)] if is_union else [base]
    return [part for part in found if part is not type(None)]


def _type(annotation: object) -> str:
    return " or ".join(dict.fromkeys(_type_of_part(part) for part in _parts(annotation)))


def _type_of_part(part: object) -> str:
    if _name(part) in ("list", "tuple"):
        arguments: tuple[object, ...] = getattr(part, "__args__", ())
        inner = _parts(arguments[0])[0]
        many = "list of" if _name(part) == "list" else "pairs of"
        return f"{many} {_type_of_part(inner)}s" if _name(inner) != "tuple" else f"list of {_type_of_part(inner)}"
    if _name(part) == "Literal":
        return " or ".join(f"`{json.dumps(word)}`" for word in getattr(part, "__args__", ()))
    return "object" if isinstance(part, type) and issubclass(part, Section) else TYPES[_name(part)]


def _name(part: object) -> str:
    return str(getattr(getattr(part, "__origin__", part), "__name__", part))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "(needed)"
    default = field.default
    is_nothing = default is None or isinstance(default, Section) or default is msgspec.NODEFAULT
    return "" if is_nothing else f"`{json.dumps(default)}`"


def _description(annotation: object) -> str:
    found = [meta.description for meta in getattr(annotation, "__metadata__", ()) if meta.description]
    return " ".join(found)


def _help(whole: argparse.ArgumentParser, command: str) -> str:
    subparsers = next(action for action in whole._actions if isinstance(action, argparse._SubParsersAction))
    return (subparsers.choices[command] if command else whole).format_help().rstrip()


def _exit_codes() -> Iterator[tuple[ExitCode, str]]:
    """Return each code with the text that follows it in the source."""
    tree = ast.parse(Path(inpod.errors.__file__).read_text())
    enum = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExitCode")
    for assignment, text in zip(enum.body, enum.body[1:], strict=False):
        if isinstance(assignment, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            name = assignment.targets[0]
            assert isinstance(name, ast.Name)
            yield ExitCode[name.id], str(text.value.value)


if __name__ == "__main__":
    main()
