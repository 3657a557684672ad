"""Ports that are had again after the link was made anew, while the program listens; both loops."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from inpod.config.incoming import Ports
from inpod.protocol.agent import Refusal, encode
from inpod.protocol.layer import Addr, Listen, encode_reply
from inpod.session.events import Events
from inpod.session.incoming.connections import Incoming
from inpod.session.incoming.services import Services
from inpod.session.incoming.subscriptions import Subscriptions, Wishes
from inpod.session.relays import Relays
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import Stream, Tunnel
from tests.unit.tunnel.conftest import Run, tunnels


class Agent:
    """The far end of links, that has each port once; `decide` answers what waits."""

    def __init__(self) -> None:
        self.asked = 0
        self._waits: asyncio.Queue[Stream] = asyncio.Queue()
        self._has_port = False

    def take(self, stream: Stream, head: bytes) -> None:
        self.asked += 1
        if self._has_port:
            stream.refuse(encode(Refusal(errno.EADDRINUSE, "this session has the port already")))
        else:
            self._has_port = True
            self._waits.put_nowait(stream)

    def lose(self, tunnel: Tunnel) -> None:
        tunnel.close()
        self._has_port = False

    async def is_asked(self) -> Stream:
        return await self._waits.get()


class Links:
    """A session's incoming connections, by the link of the moment."""

    def __init__(self, folder: Path, first: Tunnel) -> None:
        self.of_the_moment = first
        self._table, self._tasks, events = Table(folder / "table"), Tasks(), Events()
        services = Services(None, lambda: self.of_the_moment, self._tasks, events)
        subscriptions = Subscriptions(lambda: self.of_the_moment, Wishes("steal"), events)
        self.incoming = Incoming(self._table, events, "steal", self._tasks, Relays(), Ports(), services, subscriptions)

    async def close(self) -> None:
        self.incoming.close()
        await self._tasks.close()
        self._table.close()


@asynccontextmanager
async def links(agent: Agent, folder: Path) -> AsyncIterator[tuple[Links, Tunnel, Listen]]:
    """A session, the link that it has next, and the program's request as it listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        real = Addr.of(*listener.getsockname())
        async with tunnels(agent.take) as (old, _), tunnels(agent.take) as (new, _):
            session = Links(folder, old)
            try:
                yield session, new, Listen(wanted=real, real=real, is_local=False)
            finally:
                await session.close()


def test_listening_while_the_port_is_had_again_asks_for_it_once(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        agent = Agent()
        async with links(agent, tmp_path) as (session, new, request):
            listening = asyncio.ensure_future(session.incoming.listen(request))
            (await agent.is_asked()).accept()
            assert await listening == encode_reply(0)
            agent.lose(session.of_the_moment)
            session.of_the_moment = new
            again = asyncio.ensure_future(session.incoming.subscribe_again())
            waits = await agent.is_asked()
            listening = asyncio.ensure_future(session.incoming.listen(request))
            await asyncio.sleep(0)  # it begins
            waits.accept()
            await again
            assert await listening == encode_reply(0)
            assert agent.asked == 2

    run(scenario)


def test_port_that_was_had_before_its_turn_is_not_asked_for_again(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        agent = Agent()
        async with links(agent, tmp_path) as (session, new, request):
            agent.lose(session.of_the_moment)
            # While there is no link, the program listens; and once more as soon as there is one.
            assert await session.incoming.listen(request) == encode_reply(0)
            session.of_the_moment = new
            listening = asyncio.ensure_future(session.incoming.listen(request))
            (await agent.is_asked()).accept()
            assert await listening == encode_reply(0)
            await session.incoming.subscribe_again()
            assert agent.asked == 1

    run(scenario)
