"""What is written to the log, as people and programs read it."""

import asyncio
import json
import logging

import pytest

from inpod.cli.log import FAULT
from inpod.cli.loop import run
from inpod.cli.progress import show
from inpod.session.events import Events, Note
from inpod.session.tasks import Tasks

log = logging.getLogger("somebody.else")


async def warns() -> None:
    log.info("nothing to know")
    log.warning("The disk of %s\nis \x1b[31mfull.", "web-0")


async def fails() -> None:
    tasks = Tasks()

    async def divide() -> None:
        raise ZeroDivisionError("by no means")

    await asyncio.wait([tasks.spawn(divide())])
    # Told by a callback of the task, which runs after this one was woken.
    await asyncio.sleep(0)


def test_warning_is_one_line_of_inpod(capsys: pytest.CaptureFixture[str]) -> None:
    run(warns())
    assert capsys.readouterr().err == "inpod: The disk of web-0 is  [31mfull.\n"


def test_warning_is_an_event_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    events = Events()
    with show(events, "json"):
        run(warns(), lambda text: events.emit(Note(text)))
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"], said["text"]) == ("Note", "warning", "The disk of web-0 is  [31mfull.")


def test_fault_of_ours_asks_for_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    run(fails())
    first, *below = capsys.readouterr().err.splitlines()
    assert first == f"inpod: A part of the session failed. {FAULT}"
    assert (below[0], below[-1]) == ("Traceback (most recent call last):", "ZeroDivisionError: by no means")


def test_fault_in_a_callback_is_told_too(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(main())
    first, *below = capsys.readouterr().err.splitlines()
    assert first.startswith("inpod: Exception in callback ")
    assert first.endswith(FAULT)
    assert below[-1].startswith("ZeroDivisionError")


def test_nothing_is_told_twice_or_later(capsys: pytest.CaptureFixture[str]) -> None:
    run(warns())
    run(warns())
    assert len(capsys.readouterr().err.splitlines()) == 2
