"""The pages that are made from the code say what the code says."""

import runpy
from pathlib import Path

import pytest

from inpod.errors import ExitCode

DOCS = Path(__file__).parents[3] / "docs"
PAGES: dict[str, str] = runpy.run_path(str(DOCS / "generate.py"))["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / "reference" / name).read_text() == PAGES[name], "run: python docs/generate.py"


def test_every_exit_code_is_explained() -> None:
    for code in ExitCode:
        assert f"| {code.value} | {code.name} | " in PAGES["exit-codes.md"]
