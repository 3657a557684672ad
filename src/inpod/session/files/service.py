"""Answers FILE requests: asks the agent what is there, and fills the replica.

A second question about the same folder brings the whole folder: its members' attributes and small contents come in one
round trip, so that reading many small files costs one.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import PurePosixPath

from inpod.protocol import agent, layer
from inpod.session.files.replica import Replica, finish_file
from inpod.tunnel.streams import StreamRefused, Tunnel

WANTS: dict[layer.Want, agent.Want] = {
    layer.Want.LSTAT: "lstat",
    layer.Want.STAT: "stat",
    layer.Want.READ: "read",
    layer.Want.LIST: "list",
}

LIST_AFTER = 2
"""So many questions about one folder make us ask for all of it."""


class Files:
    """Bound to one replica."""

    def __init__(self, tunnel: Callable[[], Tunnel], replica: Replica) -> None:
        self._tunnel = tunnel
        self._replica = replica
        self._under_way: dict[tuple[layer.Want, bytes], asyncio.Future[int]] = {}
        self._asked: dict[str, int] = {}

    async def make_available(self, request: layer.File) -> bytes:
        """Return the reply to a FILE request, once the replica has what was asked for."""
        key = (request.want, request.path)
        running = self._under_way.get(key)
        if running is None:
            running = asyncio.ensure_future(self._fetch(request.want, os.fsdecode(request.path)))
            self._under_way[key] = running
            running.add_done_callback(lambda _: self._under_way.pop(key, None))
        return layer.encode_reply(await asyncio.shield(running))

    async def _fetch(self, want: layer.Want, path: str) -> int:
        """Return 0, or the errno that the program gets."""
        try:
            if want != layer.Want.LIST and await self._came_with_its_folder(want, path):
                return 0
            return await self._look_up(WANTS[want], path)
        except StreamRefused as refused:
            return _errno_of(refused)
        except agent.PeerProtocolError:
            return errno.EIO
        except OSError as error:
            return error.errno or errno.EIO

    async def _came_with_its_folder(self, want: layer.Want, path: str) -> bool:
        parent = str(PurePosixPath(path).parent)
        self._asked[parent] = self._asked.get(parent, 0) + 1
        if self._asked[parent] != LIST_AFTER or parent == "/":
            return False
        await self._look_up("list", parent)
        # Links need their own look-up, and so do files whose content was too large to come along.
        return want in (layer.Want.READ, layer.Want.STAT) and self._replica.is_complete(path)

    async def _look_up(self, want: agent.Want, path: str) -> int:
        data = await self._tunnel().fetch(agent.encode(agent.LookUp(path, want)))
        entries = agent.decode_entries(data)
        self._replica.put(entries)
        for entry, _ in entries:
            if entry.kind == "missing":
                return entry.errno or errno.ENOENT
        if want == "read" and entries:
            entry, content = entries[-1]
            if entry.kind == "file" and content is None:
                await self._stream_in(entry)
        return 0

    async def _stream_in(self, entry: agent.Entry) -> None:
        """Fetch the content of a large file."""
        if self._replica.is_complete(entry.path):
            return
        stream = self._tunnel().open(agent.encode(agent.ReadFile(entry.path)))
        fd = -1
        try:
            await stream.accepted()
            fd = self._replica.begin_file(entry)
            size = 0
            while data := await stream.read():
                at = 0
                while at < len(data):
                    at += os.pwrite(fd, memoryview(data)[at:], size + at)
                size += len(data)
            finish_file(fd, entry, size)
        finally:
            stream.refuse()
            if fd >= 0:
                os.close(fd)


def _errno_of(refused: StreamRefused) -> int:
    try:
        return agent.decode_answer(agent.Refusal, refused.payload).code or errno.EIO
    except agent.PeerProtocolError:
        return errno.EIO
