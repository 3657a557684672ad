"""Two tunnels in a row, joined stream by stream."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from inpod.tunnel.mux import WINDOW
from inpod.tunnel.pipe import pipe
from inpod.tunnel.streams import Stream, StreamRefused
from tests.unit.tunnel.conftest import PATTERN, Run, collect, tunnels


async def joined(undo: AsyncExitStack) -> tuple[Stream, Stream, "asyncio.Task[None]"]:
    """Return the two ends of a stream that leads through both tunnels, and the task that joins them."""
    loop = asyncio.get_running_loop()
    middle: asyncio.Future[Stream] = loop.create_future()
    far: asyncio.Future[Stream] = loop.create_future()
    near_tunnel, _ = await undo.enter_async_context(tunnels(lambda stream, head: middle.set_result(stream)))
    far_tunnel, _ = await undo.enter_async_context(tunnels(lambda stream, head: far.set_result(stream)))
    near = near_tunnel.open(b"")
    onward = far_tunnel.open(b"")
    task = asyncio.ensure_future(pipe(await middle, onward))
    undo.callback(task.cancel)
    return near, await far, task


def test_bytes_and_ends_pass_both_ways(run: Run) -> None:
    async def main() -> None:
        async with AsyncExitStack() as undo:
            near, far, task = await joined(undo)
            for here, there in ((near, far), (far, near)):
                _, received = await asyncio.gather(send(here), collect(there))
                assert received == PATTERN * 200
            await task

    async def send(stream: Stream) -> None:
        await stream.write(PATTERN * 200)
        stream.write_eof()

    run(main)


def test_a_slow_end_slows_the_other(run: Run) -> None:
    async def main() -> None:
        async with AsyncExitStack() as undo:
            near, far, _ = await joined(undo)
            size = 4 * WINDOW
            writing = asyncio.ensure_future(near.write(b"x" * size))
            await asyncio.wait([writing], timeout=0.3)
            # Nobody reads: the windows of both tunnels are full, and no more is on its way.
            assert not writing.done()
            received = 0
            while received < size:
                received += len(await far.read())
            await writing
            assert received == size

    run(main)


@pytest.mark.parametrize("whose", [0, 1])
def test_a_reset_is_a_reset_of_both(run: Run, whose: int) -> None:
    async def main() -> None:
        async with AsyncExitStack() as undo:
            near, far, task = await joined(undo)
            ends = [near, far]
            ends[whose].refuse()
            with pytest.raises(StreamRefused):
                await ends[1 - whose].read()
            await task

    run(main)
