"""Who waits at the end for the agent's word that all has arrived; both loops."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

import pytest

from inpod.protocol import agent
from inpod.session import last_words
from inpod.session.events import Event, Events, Note
from inpod.session.last_words import have_arrive
from inpod.session.relays import Relays
from inpod.session.signals import Signals
from inpod.tunnel import outlets
from inpod.tunnel.streams import Stream, StreamRefused
from tests.unit.tunnel.conftest import Run, tunnels
from tests.unit.udp import agent_tunnel

LOST = Note("Not all that the program sent in the end was taken; the rest is lost.")


async def told(answer: Callable[[Stream], Awaitable[None]]) -> list[Event]:
    """Return what a session tells at its end, with an agent that answers so."""
    seen: list[Event] = []
    events = Events()
    events.listen(seen.append)
    answering: list[asyncio.Future[None]] = []
    signals = Signals()
    try:
        async with tunnels(lambda stream, _: answering.append(asyncio.ensure_future(answer(stream)))) as (near, _):
            await have_arrive(Relays(), near, events, signals)
            await asyncio.gather(*answering)
    finally:
        signals.close()
    return seen


def test_agent_that_never_answers_is_not_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pings come as ever."""
    monkeypatch.setattr(last_words, "SILENT_S", 0.05)

    async def never(stream: Stream) -> None:
        stream.accept()

    async def scenario() -> None:
        assert await told(never) == [LOST]

    run(scenario)


def test_agent_that_says_that_it_waits_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "SILENT_S", 1.0)

    async def late(stream: Stream) -> None:
        stream.accept()
        for _ in range(30):
            await asyncio.sleep(last_words.SILENT_S / 20)
            await stream.write(b".")
        stream.write_eof()

    async def scenario() -> None:
        assert await told(late) == []

    run(scenario)


def test_agent_says_that_it_waits_and_what_did_not_arrive(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlets, "STILL_LOOKS", 3)

    async def scenario() -> None:
        said: list[bytes] = []
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            async with agent_tunnel() as tunnel:
                stream = tunnel.open(agent.encode(agent.Connect(agent.Address(*deaf.getsockname()))))
                await stream.accepted()
                writing = asyncio.ensure_future(stream.write(bytes(32 * 1024 * 1024)))
                # The agent holds a part of it.
                while not any(map(outlets.unsent_bytes, outlets._open)):  # noqa: ASYNC110  # no event tells of it
                    await asyncio.sleep(0.01)
                with pytest.raises(StreamRefused) as refused:
                    await tunnel.fetch_by(agent.encode(agent.Finish()), said.append)
                writing.cancel()
                stream.refuse()
        assert agent.errno_of(refused.value.payload, 0) == errno.ETIMEDOUT
        assert said

    run(scenario)
