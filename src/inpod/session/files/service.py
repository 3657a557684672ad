"""Answers FILE requests: asks the agent what is there, and fills the replica.

Questions about two names of one folder bring the whole folder: its members' attributes and small contents come in one
round trip, so that reading many small files costs one. One name that is asked for again and again, as a program does
that waits for a file, is asked for each time.

A path in a folder that the pod lacks counts as a name in the nearest one above that it has. One that is to be executed
counts as two: nobody waits for it, but it is looked for in all folders of PATH, again and again.
"""

import asyncio
import contextlib
import errno
import logging
import os
from collections.abc import Callable, Coroutine, Sequence

from inpod.protocol import agent, layer, listing
from inpod.session.files.filling import Overtaken
from inpod.session.files.members import finish_file, write_at
from inpod.session.files.replica import Replica
from inpod.session.files.views import Views
from inpod.tunnel.streams import StreamRefused, Tunnel

log = logging.getLogger(__name__)

WANTS: dict[layer.Want, agent.Want] = {
    layer.Want.LSTAT: "lstat",
    layer.Want.STAT: "stat",
    layer.Want.READ: "read",
    layer.Want.LIST: "list",
    layer.Want.EXECUTE: "read",
}

LIST_AFTER = 2
"""So many names asked for in one folder make us ask for all of it."""

MAX_FOLDERS_COUNTED = 4096


class Files:
    """Bound to one replica. A question that is under way is not asked twice."""

    def __init__(self, tunnel: Callable[[], Tunnel], replica: Replica, views: Views) -> None:
        self._tunnel = tunnel
        self._replica = replica
        self._views = views
        replica.put(views.made)
        self._under_way: dict[tuple[agent.Want | None, bytes], asyncio.Future[int]] = {}
        self._asked: dict[bytes, set[bytes]] = {}
        self._news: list[listing.Entry] = []
        self._told: set[int | None] = set()

    async def follow(self) -> None:
        """Keep the replica as the pod's files are, as far as they were asked for from now on; until the link is lost."""
        stream = self._tunnel().open(agent.encode(agent.WatchFiles()))
        reader = listing.EntriesReader()
        try:
            await stream.accepted()
            while data := await stream.read():
                for block in reader.feed(data):
                    news = [entry for entry, _ in block]
                    self._renew(news)
                    if self._under_way:
                        self._news += news
        except (StreamRefused, agent.PeerProtocolError) as error:
            log.info("changes of the pod's files are not followed: %s", error)
        finally:
            stream.refuse()

    async def make_available(self, request: layer.File) -> bytes:
        """Return the reply to a FILE request, once the replica has what was asked for."""
        want, path = WANTS[request.want], request.path
        folder, _, name = path.rpartition(b"/")
        if want != "list" and folder and self._is_time_to_list(folder, name):
            await self._shared("list", folder)
            if want in ("read", "stat") and self._replica.is_plain_and_complete(path):
                return layer.encode_reply(0)
        code = await self._shared(want, path)
        if code == errno.ENOENT and (above := self._nearest(folder)) != folder:
            names = (path, folder) if request.want is layer.Want.EXECUTE else (path,)
            counted = [self._is_time_to_list(above, name.removeprefix(above)) for name in names]
            if any(counted):
                await self._shared("list", above or b"/")
        return layer.encode_reply(code)

    def _nearest(self, folder: bytes) -> bytes:
        """Return the folder, or the nearest one above, that the pod has; b"": its root."""
        while folder and not self._replica.is_there(folder):
            folder = folder.rpartition(b"/")[0]
        return folder

    def _renew(self, entries: Sequence[listing.Entry]) -> None:
        for entry in entries:
            if self._views.is_own(entry.path):
                continue
            try:
                self._replica.renew(entry)
            except OSError as error:
                # Once for each reason: a full disk is met with each of thousands.
                if error.errno not in self._told:
                    self._told.add(error.errno)
                    log.warning(
                        "%s has changed in the pod, and the program sees it as it was (%s): make room where "
                        "temporary files are, and run the command again.",
                        entry.path,
                        error.strerror,
                    )

    def _is_time_to_list(self, folder: bytes, name: bytes) -> bool:
        if len(self._asked) >= MAX_FOLDERS_COUNTED:
            self._asked.clear()
        names = self._asked.setdefault(folder, set())
        before = len(names)
        if before < LIST_AFTER:
            names.add(name)
        # Once: a folder of too many members stays incomplete, however often it is asked for.
        return before < LIST_AFTER == len(names)

    async def _shared(self, want: agent.Want, path: bytes) -> int:
        return await self._once((want, path), lambda: self._fetch(want, path))

    async def _once(self, key: tuple[agent.Want | None, bytes], begin: Callable[[], Coroutine[None, None, int]]) -> int:
        running = self._under_way.get(key)
        if running is None:
            running = self._under_way[key] = asyncio.ensure_future(begin())
            running.add_done_callback(lambda _: self._ended(key))
        return await asyncio.shield(running)

    def _ended(self, key: tuple[agent.Want | None, bytes]) -> None:
        self._under_way.pop(key, None)
        if not self._under_way:
            self._news.clear()

    async def _fetch(self, want: agent.Want, path: bytes) -> int:
        """Return 0, or the errno that the program gets."""
        known = len(self._news)
        try:
            question = agent.LookUp(listing.path_text(path), want)
            try:
                found = await self._take_in(question)
            except Overtaken:
                found = await self._take_in(question)
            # The answer may be older than what was heard meanwhile.
            news = self._news[known:]
            self._renew(news)
            if any(each.kind == "dir" and path.startswith(listing.path_bytes(each.path) + b"/") for each in news):
                # Of a folder that may be another now.
                with contextlib.suppress(Overtaken):
                    found = await self._take_in(question)
            match what_was_found(found, want):
                case int(code):
                    return code
                case listing.Entry(kind="dir") as folder:
                    # open(2) of a directory: what is wanted of it is its members.
                    return await self._shared("list", listing.path_bytes(folder.path))
                case entry:
                    # Two paths may lead to one file, through links.
                    return await self._once((None, listing.path_bytes(entry.path)), lambda: self._stream_in(entry))
        except StreamRefused as refused:
            return _errno_of(refused)
        except (agent.PeerProtocolError, Overtaken):
            return errno.EIO
        except OSError as error:
            return error.errno or errno.EIO

    async def _take_in(self, question: agent.LookUp) -> listing.Found:
        """Fill the replica with the answer; return its first block: what is on the way, and what is there.

        Raises:
            Overtaken: Another answer made the same folder meanwhile.
            OSError: No room.
            StreamRefused, PeerProtocolError: There is no answer.
        """
        reader = listing.EntriesReader()
        first: listing.Found = []
        with self._replica.filling() as filling:

            def take(data: bytes) -> None:
                for block in reader.feed(data):
                    filling.put(self._views.of(block))
                    if not first:
                        first.extend(block)

            await self._tunnel().fetch_by(agent.encode(question), take)
            reader.end()
            filling.finish()
        return first

    async def _stream_in(self, entry: listing.Entry) -> int:
        """Fetch the content of a large file.

        Raises:
            OSError: No room.
            StreamRefused: The pod's file cannot be read.
        """
        if self._replica.is_plain_and_complete(listing.path_bytes(entry.path)):
            return 0
        stream = self._tunnel().open(agent.encode(agent.ReadFile(entry.path)))
        fd = -1
        try:
            await stream.accepted()
            fd = self._replica.begin_file(entry)
            size = 0
            while data := await stream.read():
                write_at(fd, data, size)
                size += len(data)
            finish_file(fd, entry, size)
            return 0
        finally:
            stream.refuse()
            if fd >= 0:
                os.close(fd)


def what_was_found(found: listing.Found, want: agent.Want) -> listing.Entry | int:
    """Return 0 when an answer is all that was wanted, an errno, or the entry of which more is needed.

    Args:
        found: Its first block.
    """
    if not found:
        return errno.EIO
    entry, content = found[-1]
    if entry.kind == "missing":
        return entry.errno or errno.ENOENT
    if want == "list":
        if entry.kind != "dir":
            return errno.ENOTDIR
        # Too many members: the replica would deny those that are left out.
        return 0 if entry.is_listed else errno.EOVERFLOW
    if want == "read" and (entry.kind == "dir" or (entry.kind == "file" and content is None)):
        return entry
    return 0


def _errno_of(refused: StreamRefused) -> int:
    try:
        return agent.decode_answer(agent.Refusal, refused.payload).code or errno.EIO
    except agent.PeerProtocolError:
        return errno.EIO
