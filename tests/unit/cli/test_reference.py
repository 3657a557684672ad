"""The pages that are made from the code say what the code says."""

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from inpod.cli.output import Failure
from inpod.config.load import Options, parse, settings
from inpod.config.mistakes import keys
from inpod.errors import ExitCode
from inpod.session.events import Event
from inpod.session.incoming.http_filter import compile_filter
from tests.events import documented

DOCS = Path(__file__).parents[3] / "docs"
PAGES: dict[str, str] = runpy.run_path(str(DOCS / "generate.py"))["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / "reference" / name).read_text() == PAGES[name], "run: python docs/generate.py"


def test_every_exit_code_is_explained() -> None:
    for code in ExitCode:
        assert f"| {code.value} | {code.name} | " in PAGES["exit-codes.md"]


def test_every_event_is_explained_with_all_its_fields() -> None:
    told = {name: list(fields) for name, fields in documented().items()}
    assert told == {
        **{event.__name__: list(event._fields) for event in get_args(Event)},
        "Failure": [name for name in Failure.__annotations__ if name != "event"],
    }


def examples() -> Iterator[object]:
    """Each configuration that the page shows."""
    for text in re.findall(r"```json\n(.*?)```", PAGES["config.md"], re.DOTALL):
        at = 0
        while at < len(text.rstrip()):
            value, at = json.JSONDecoder().raw_decode(text, at)
            yield value
            at += len(text[at:]) - len(text[at:].lstrip())


def test_every_example_is_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env.local").write_text("A=1\n")
    for example in examples():
        chosen = settings(Options(), parse(json.dumps(example).encode(), "example").file)
        if chosen.http_filter is not None:
            compile_filter(chosen.http_filter)


def test_every_key_has_an_example() -> None:
    shown: set[str] = set()

    def collect(value: object, place: str) -> None:
        shown.add(place)
        if isinstance(value, dict):
            for key, inner in value.items():
                collect(inner, f"{place}.{key}" if place else key)
        if isinstance(value, list):
            for inner in value:
                collect(inner, place)

    for example in examples():
        collect(example, "")
    # A clause's keys are the same in both lists.
    wanted = {key.replace(".all_of.", ".any_of.") for there in keys().values() for key in there}
    assert wanted <= {place.replace(".all_of.", ".any_of.") for place in shown}
