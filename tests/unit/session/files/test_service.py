"""FILE requests of a layer: a real tunnel and replica, an agent that says things when the test wants it to; both loops."""

import asyncio
import errno
import os
from pathlib import Path

from inpod.protocol.agent import LookUp, decode_request
from inpod.protocol.layer import File, Want, encode_reply
from inpod.protocol.listing import Entry, encode_entries
from inpod.session.files.members import MARK_NS
from inpod.session.files.replica import Replica
from inpod.session.files.service import Files
from inpod.session.files.views import Views
from inpod.tunnel.streams import Stream
from tests.unit.tunnel.conftest import Run, tunnels

FOLDER = Entry("/d", "dir", 0o755)
A, B = (Entry(f"/d/{name}", "file", 0o644, 1, content_bytes=1) for name in "ab")


def test_listing_that_gets_in_its_own_way_is_an_error_of_input(run: Run, tmp_path: Path) -> None:
    """An agent that is not ours names other folders each time, and something else at their places."""
    (tmp_path / "replica").mkdir()

    async def main() -> None:
        answers = set[asyncio.Task[None]]()

        async def answer(stream: Stream, path: str) -> None:
            stream.accept()
            listed, link = Entry(path, "dir", 0o755, is_listed=True), Entry(path, "link", target="x")
            await stream.write(encode_entries([listed, link], []))
            stream.write_eof()

        def on_stream(stream: Stream, head: bytes) -> None:
            answers.add(asyncio.ensure_future(answer(stream, f"/d{len(answers)}")))

        async with tunnels(on_stream) as (tunnel, _):
            files = Files(lambda: tunnel, Replica(tmp_path / "replica"), Views())
            assert await files.make_available(File(Want.LIST, b"/d")) == encode_reply(errno.EIO)
            assert len(answers) == 2

    run(main)


def test_look_into_a_folder_that_is_being_listed_is_answered_at_once(run: Run, tmp_path: Path) -> None:
    (tmp_path / "replica").mkdir()

    async def main() -> None:
        is_listing, goes_on, answers = asyncio.Event(), asyncio.Event(), set[asyncio.Task[None]]()

        async def answer(stream: Stream, request: object) -> None:
            stream.accept()
            if request == LookUp("/d", "list"):
                await stream.write(encode_entries([FOLDER._replace(is_listed=True)], []) + encode_entries([A], [b"a"]))
                is_listing.set()
                await goes_on.wait()
                await stream.write(encode_entries([B], [b"b"]))
            else:
                await stream.write(encode_entries([FOLDER, A], [b"a"]))
            stream.write_eof()

        def on_stream(stream: Stream, head: bytes) -> None:
            answers.add(asyncio.ensure_future(answer(stream, decode_request(head))))

        async with tunnels(on_stream) as (tunnel, _):
            files = Files(lambda: tunnel, Replica(tmp_path / "replica"), Views())
            listing = asyncio.ensure_future(files.make_available(File(Want.LIST, b"/d")))
            await is_listing.wait()
            assert await files.make_available(File(Want.READ, b"/d/a")) == encode_reply(0)
            folder = tmp_path / "replica/d"
            assert ((folder / "a").read_text(), (folder / "b").exists()) == ("a", False)
            assert folder.stat().st_atime_ns == MARK_NS
            goes_on.set()
            assert await listing == encode_reply(0)
            assert folder.stat().st_atime_ns != MARK_NS
            assert (sorted(os.listdir(folder)), (folder / "b").read_text()) == (["a", "b"], "b")

    run(main)
