"""Both event loops, and pairs of tunnels."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from inpod.tunnel.streams import Stream, Tunnel

Run = Callable[[Callable[[], Awaitable[None]]], None]

SCENARIO_LIMIT_S = 90

PATTERN = bytes(range(256)) * 251
"""A length that is no power of two, so that a lost or doubled piece shows."""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine function on one of the loops, with a limit; what the loop has to complain of fails the test."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_it(main: Callable[[], Awaitable[None]]) -> None:
        complaints: list[dict[str, object]] = []

        async def limited() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
            async with asyncio.timeout(SCENARIO_LIMIT_S):
                await main()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(limited())
        assert complaints == []

    return run_it


@asynccontextmanager
async def tunnels(
    on_stream: Callable[[Stream, bytes], None],
    on_stream_of_first: Callable[[Stream, bytes], None] = lambda stream, head: stream.refuse(b"no"),
) -> AsyncIterator[tuple[Tunnel, Tunnel]]:
    """Both ends of a tunnel; `on_stream` is the second one's."""
    here, there = socket.socketpair()
    first = Tunnel(initiator=True, on_stream=on_stream_of_first)
    second = Tunnel(initiator=False, on_stream=on_stream)
    await first.attach(here)
    await second.attach(there)
    try:
        yield first, second
    finally:
        first.close()
        second.close()


async def collect(stream: Stream) -> bytes:
    """Return all data of `stream`."""
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)
