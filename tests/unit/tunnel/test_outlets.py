"""What has arrived at the end of a process."""

import asyncio
import socket

from inpod.tunnel import outlets
from inpod.tunnel.transport import Transport, open_transport
from tests.unit.tunnel.conftest import Run


class Told(asyncio.Protocol):
    """Is known as an outlet until it is told that its connection is lost."""

    def __init__(self) -> None:
        self.transport: Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Transport)
        self.transport = transport
        outlets.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        outlets.remove(self.transport)


def test_connection_that_was_just_lost_is_waited_for_no_more(run: Run) -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        with far:
            transport = open_transport(near, Told())
            transport.write(b"unread")
            # Its protocol is told in the next turn of the loop.
            transport.abort()
            assert await outlets.arrived()

    run(main)
