"""What becomes of the output when it cannot be written: real processes, real devices."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

import pytest

from inpod.errors import ExitCode

COMMANDS = (["--help"], ["--version"], ["exec", "--help"], ["status", "-o", "json"])


def run(
    arguments: Sequence[str], out: int | None = None, error: int = subprocess.PIPE, *, is_buffered: bool = True
) -> "subprocess.CompletedProcess[bytes]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if not is_buffered:
        environment["PYTHONUNBUFFERED"] = "1"
    return subprocess.run(
        [sys.executable, "-m", "inpod", *arguments], stdout=out, stderr=error, env=environment, timeout=60
    )


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture
def full() -> Iterator[int]:
    fd = os.open("/dev/full", os.O_WRONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("is_buffered", [True, False])
@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_full_disk_is_said_in_one_line(arguments: list[str], full: int, *, is_buffered: bool) -> None:
    done = run(arguments, full, is_buffered=is_buffered)
    assert done.stderr == (
        b"inpod: Cannot write to standard output: No space left on device. Look at where the output goes.\n"
    )
    assert done.returncode == ExitCode.OUTPUT


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_reader_that_goes_away_is_no_fault(arguments: list[str], unread: int) -> None:
    done = run(arguments, unread)
    assert done.stderr == b""
    assert done.returncode == 0


def test_a_mistake_keeps_its_exit_code_when_it_cannot_be_said(full: int, unread: int) -> None:
    assert run(["exec"], error=full).returncode == ExitCode.USAGE
    assert run(["exec"], error=unread).returncode == ExitCode.USAGE


def test_what_cannot_be_shown_is_an_escape() -> None:
    code = "from inpod.cli.output import put; put('gr\\xf6\\udcff\\n')"
    for encoding, said in (("ascii", b"gr\\xf6\\udcff\n"), ("utf-8", b"gr\xc3\xb6\\udcff\n")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding}
        assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment).stdout == said
