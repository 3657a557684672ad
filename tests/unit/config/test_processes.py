"""Which programs are left alone, as configured."""

import json

from inpod.config.load import Options, parse, settings
from inpod.config.processes import BUILD_TOOLS, is_skipped


def skipped(option: str | None = None, **file: object) -> tuple[str, ...]:
    return settings(Options(skip_processes=option), parse(json.dumps(file).encode(), "inpod.json").file).skipped


def test_build_tools_are_skipped_unless_told() -> None:
    assert skipped() == BUILD_TOOLS
    assert skipped(skip_build_tools=False) == ()
    assert skipped(skip_extra_build_tools=["zig"]) == (*BUILD_TOOLS, "zig")
    assert skipped(skip_build_tools=False, skip_extra_build_tools=["zig"]) == ()


def test_processes_are_a_list_or_a_text() -> None:
    assert skipped(skip_processes=["a", "b"], skip_build_tools=False) == ("a", "b")
    assert skipped(skip_processes="a; b;;", skip_build_tools=False) == ("a", "b")
    assert skipped("c;d", skip_processes="a", skip_build_tools=False) == ("c", "d")


def test_a_program_is_known_by_its_file_or_its_name() -> None:
    assert is_skipped(("sh",), "/bin/true", "/somewhere/sh")
    assert is_skipped(("true",), "/bin/true", "anything")
    assert not is_skipped(("sh",), "/bin/true", "bash")
