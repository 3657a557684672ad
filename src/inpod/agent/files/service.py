"""Answers the session's questions about files, in worker threads: a file system may be slow, the loop must not be."""

import asyncio
import errno
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from inpod.agent.files.contents import FileReader
from inpod.agent.files.look_up import look_up
from inpod.agent.files.members import Members
from inpod.agent.files.watch import Watcher, describe
from inpod.protocol.agent import LookUp, ReadFile
from inpod.protocol.listing import path_bytes
from inpod.tunnel.streams import Stream

THREADS = 4

STEP_LIMIT_S = 30.0
"""Longest that one look-up, or one chunk of a file, may take; a file server that hangs is ETIMEDOUT then."""

T = TypeVar("T")


class Files:
    """Reads below `root`, an O_PATH descriptor. Make it after the namespaces are joined: its threads inherit them."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._watcher: Watcher | None = None
        self._telling: asyncio.Task[None] | None = None

    async def look_up(self, stream: Stream, request: LookUp) -> None:
        """Answer with blocks of entries as data."""
        watcher = self._watcher
        watch = (lambda _: False) if watcher is None else watcher.watch
        block, members = await self._run(lambda: look_up(self._root, request, watch))
        stream.accept()
        await stream.write(block)
        if members is not None:
            await self._pass_on(stream, members)
        stream.write_eof()

    async def read_file(self, stream: Stream, request: ReadFile) -> None:
        """Answer with the file's content as data.

        Raises:
            OSError: It cannot be opened or read; what was sent of it is void then.
        """
        reader = await self._run(lambda: FileReader(self._root, path_bytes(request.path)))
        stream.accept()
        await self._pass_on(stream, reader)
        stream.write_eof()

    async def watch(self, stream: Stream) -> None:
        """Tell what changes in the folders that are asked about, as data, until the stream ends.

        Folders stay watched when a link is lost; the next one is told what changed meanwhile.

        Raises:
            OSError: The kernel gives no means.
        """
        if self._watcher is None:
            self._watcher = Watcher(self._root)
        if self._telling is not None:
            # Of a link that is lost, though this end has not noticed.
            self._telling.cancel()
            self._watcher.tell_again()
        self._telling = asyncio.current_task()
        stream.accept()
        while True:
            paths = await self._watcher.changes()
            await stream.write(await self._run(functools.partial(describe, self._root, paths)))

    async def _pass_on(self, stream: Stream, reader: FileReader | Members) -> None:
        while chunk := await self._run(reader.read):
            await stream.write(chunk)
        # After a failure or a cancellation a thread may still be reading: then the last reference closes what it reads.
        reader.close()

    async def _run(self, step: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(STEP_LIMIT_S):
                return await asyncio.get_running_loop().run_in_executor(self._threads, step)
        except TimeoutError as error:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
