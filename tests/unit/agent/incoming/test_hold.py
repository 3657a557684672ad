"""A host that stood still, and cannot find out whether a guest has taken its place."""

import asyncio

from inpod.agent.incoming.hold import Hold
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.subscriber import Subscriber
from inpod.protocol.agent import Subscribe
from tests.unit.descriptors import none_left
from tests.unit.tunnel.conftest import tunnels

PORT = 1
"""Nobody steals it here."""


class Taken:
    """A `Shared` of one session."""

    number = PORT
    is_open = True

    def add(self, subscriber: Subscriber) -> None:
        """It may."""

    def remove(self, subscriber: Subscriber) -> None:
        raise AssertionError("nobody shares it")

    async def why_missed(self, ip: str) -> str:
        raise AssertionError("nobody asks")

    def close(self) -> None:
        self.is_open = False


def test_host_that_cannot_find_out_whether_it_has_a_stand_in_gives_way() -> None:
    async def main() -> None:
        port = Taken()
        request = Subscribe(PORT, "steal")
        async with tunnels(lambda stream, head: stream.refuse()) as (tunnel, _), asyncio.TaskGroup() as group:
            stream = tunnel.open(b"")
            subscriber = Subscriber(tunnel, request, Report(stream))
            hold = Hold(tunnel, request, subscriber, stream, group, lambda: port)
            await hold.hold()
            hold.give_way()
            assert port.is_open
            with none_left():
                hold.give_way()
            assert not port.is_open

    asyncio.run(main())
