"""The host of a shared port, where no guest gets in."""

import asyncio
import socket

from inpod.agent.incoming.claims import Claim, claim
from inpod.agent.incoming.sharing import Host
from inpod.agent.incoming.subscriber import Subscriber
from inpod.tunnel.acceptor import RETRY_S
from tests.unit.descriptors import Counting, none_left

PORT = 1
"""Nobody steals it here."""


class Nothing:
    """A `Shared` of which nobody gets a share."""

    number = PORT

    def add(self, subscriber: Subscriber) -> None:
        raise AssertionError("no agent came")

    def remove(self, subscriber: Subscriber) -> None:
        raise AssertionError("no agent came")

    async def why_missed(self, ip: str) -> str:
        raise AssertionError("nobody asks")

    def close(self) -> None:
        raise AssertionError("nobody takes it")


def test_host_without_descriptors_waits_for_some() -> None:
    async def main() -> None:
        claimed = claim(PORT, "tcp", "steal")
        assert claimed is not None
        listener = Counting(fileno=claimed.listener.detach())
        listener.setblocking(False)
        claimed = Claim(listener, claimed.prover)
        claimed.listen()
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            host = Host(claimed, Nothing(), group, lambda who: None)
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.setblocking(False)
                await loop.sock_connect(stranger, listener.getsockname())
                await loop.sock_sendall(stranger, bytes(16))
                with none_left():
                    await asyncio.sleep(3 * RETRY_S)  # or the loop would be busy with nothing else
                assert 1 <= listener.count <= 5
                # Then it is let in, and known for a stranger.
                assert await asyncio.wait_for(loop.sock_recv(stranger, 1), 10) == b""
            host.close()

    asyncio.run(main())
