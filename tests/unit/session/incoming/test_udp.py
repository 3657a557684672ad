"""Datagrams of the pod that cannot be given to the program; both loops."""

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inpod.config.incoming import Ports
from inpod.protocol import agent
from inpod.protocol.layer import Addr, Listen, encode_reply
from inpod.session.events import Events
from inpod.session.incoming.services import Services
from inpod.session.incoming.subscriptions import Subscriptions, Wishes
from inpod.session.incoming.udp import IncomingUdp
from inpod.session.relays import Relays
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import Stream, StreamRefused
from tests.unit.tunnel.conftest import Run, tunnels


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Allow none but those that are open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = os.dup(0)
    os.close(found)
    resource.setrlimit(resource.RLIMIT_NOFILE, (found, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_peer_is_refused_when_there_are_no_more_descriptors(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        table, tasks, events = Table(tmp_path / "table"), Tasks(), Events()

        def take(stream: Stream, head: bytes) -> None:
            request = agent.decode_request(head)
            assert isinstance(request, agent.Incoming)
            incoming.take(stream, request)

        async with tunnels(lambda stream, _: stream.accept(), take) as (near, far):
            wishes = Wishes("steal").of_datagrams()
            services = Services(None, lambda: near, tasks, events)
            subscriptions = Subscriptions(lambda: near, wishes, events)
            incoming = IncomingUdp(table, events, "steal", tasks, Relays(), Ports(), services, subscriptions)
            with socket.socket(type=socket.SOCK_DGRAM) as program:
                program.bind(("127.0.0.1", 0))
                real = Addr.of(*program.getsockname())
                assert await incoming.listen(Listen(wanted=real, real=real, is_local=False)) == encode_reply(0)
                peer, local = agent.Address("10.0.0.2", 40000), agent.Address("10.0.0.1", real.port)
                with no_more_descriptors():
                    stream = far.open(agent.encode(agent.Incoming(real.port, "steal", peer, local, "udp")))
                    with pytest.raises(StreamRefused) as refused:
                        async with asyncio.timeout(5):
                            await stream.accepted()
                assert agent.errno_of(refused.value.payload, 0) == errno.EMFILE
            incoming.close()
            await tasks.close()
            table.close()

    run(scenario)
    assert caplog.records == []
