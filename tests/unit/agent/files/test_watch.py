"""What changes in folders that were asked about, told over links that are lost: real files, a real tunnel, both loops."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from inpod.agent.dispatch import Abilities
from inpod.agent.files.service import Files
from inpod.agent.namespaces import open_in_root
from inpod.agent.target import Target
from inpod.protocol.agent import LookUp, WatchFiles, encode
from inpod.protocol.listing import EntriesReader, decode_entries
from inpod.tunnel.streams import Stream, Tunnel
from tests.processes import LIMIT_S
from tests.unit.tunnel.conftest import Run
from tests.unit.udp import agent_tunnel


@pytest.fixture
def abilities(tmp_path: Path) -> Abilities:
    made = Abilities(Target("this machine"))
    made.files = Files(os.open(tmp_path, os.O_PATH))
    return made


async def follow(tunnel: Tunnel) -> Stream:
    stream = tunnel.open(encode(WatchFiles()))
    await stream.accepted()
    return stream


async def ask(tunnel: Tunnel, path: str) -> str:
    found = decode_entries(await tunnel.fetch(encode(LookUp(path, "read"))))
    return found[-1][0].kind


async def told(stream: Stream, path: str) -> None:
    """Wait until a change at `path` is told."""
    reader = EntriesReader()
    while path not in {entry.path for block in reader.feed(await stream.read()) for entry, _ in block}:
        pass


def test_next_link_is_told_what_changed_meanwhile(run: Run, tmp_path: Path, abilities: Abilities) -> None:
    async def main() -> None:
        (tmp_path / "a").write_text("1")
        async with agent_tunnel(abilities) as tunnel:
            stream = await follow(tunnel)
            assert await ask(tunnel, "/a") == "file"
            (tmp_path / "a").write_text("2")
            await told(stream, "/a")
            (tmp_path / "b").write_text("1")
            await told(stream, "/b")
        (tmp_path / "c").write_text("1")
        async with agent_tunnel(abilities) as tunnel:
            # Nothing is asked about by this link.
            stream = await follow(tunnel)
            await told(stream, "/c")
            (tmp_path / "d").write_text("1")
            await told(stream, "/d")

    run(main)


def test_what_was_told_as_the_link_was_lost_is_told_again(run: Run, tmp_path: Path, abilities: Abilities) -> None:
    async def main() -> None:
        async with agent_tunnel(abilities) as lost, agent_tunnel(abilities) as tunnel:
            first = await follow(lost)
            assert await ask(lost, "/a") == "missing"
            (tmp_path / "a").write_text("1")
            await told(first, "/a")  # as far as the agent knows
            stream = await follow(tunnel)
            await told(stream, "/a")
            # The agent does not know that the first link is lost, and yet tells the second.
            (tmp_path / "b").write_text("1")
            await told(stream, "/b")

    run(main)


def test_folder_in_the_place_of_one_that_was_moved_away_is_watched(
    run: Run, tmp_path: Path, abilities: Abilities
) -> None:
    async def main() -> None:
        (tmp_path / "now/deep").mkdir(parents=True)
        (tmp_path / "next/deep").mkdir(parents=True)
        async with agent_tunnel(abilities) as tunnel:
            stream = await follow(tunnel)
            assert await ask(tunnel, "/now/deep/a") == "missing"
            (tmp_path / "now").rename(tmp_path / "old")
            (tmp_path / "next").rename(tmp_path / "now")
            await told(stream, "/now")
            assert await ask(tunnel, "/now/deep/a") == "missing"
            (tmp_path / "now/deep/a").write_text("1")
            await told(stream, "/now/deep/a")

    run(main)


def test_folder_that_is_moved_away_while_it_is_asked_about_is_not_taken_for_the_next_one(
    run: Run, tmp_path: Path, abilities: Abilities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the moment between its opening and its watch, and the agent has heard of the move before it has the watch."""
    opened, is_moved = threading.Event(), threading.Event()

    def slow_open(root: int, path: bytes, flags: int) -> int:
        fd = open_in_root(root, path, flags)
        if path == b"/now" and not opened.is_set():
            opened.set()
            assert is_moved.wait(LIMIT_S)
        return fd

    async def main() -> None:
        (tmp_path / "now").mkdir()
        (tmp_path / "next").mkdir()
        async with agent_tunnel(abilities) as tunnel, asyncio.TaskGroup() as group:
            stream = await follow(tunnel)
            # The folder around it is watched.
            assert await ask(tunnel, "/none") == "missing"
            asking = group.create_task(ask(tunnel, "/now/a"))
            await asyncio.to_thread(opened.wait, LIMIT_S)
            (tmp_path / "now").rename(tmp_path / "old")
            (tmp_path / "next").rename(tmp_path / "now")
            await told(stream, "/now")
            is_moved.set()
            assert await asking == "missing"
            assert await ask(tunnel, "/now/a") == "missing"
            (tmp_path / "now/a").write_text("1")
            await told(stream, "/now/a")

    monkeypatch.setattr("inpod.agent.files.watch.open_in_root", slow_open)
    run(main)
