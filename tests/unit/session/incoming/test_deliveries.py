"""What came to the program and what it refused is told, whenever that was."""

import asyncio

from inpod.protocol.agent import Address, Incoming
from inpod.session.events import Event, Events, PortDelivered
from inpod.session.incoming.deliveries import TELL_EVERY_S, Deliveries
from inpod.tunnel.streams import Stream
from tests.unit.tunnel.conftest import tunnels

PORT = 8080
REQUEST = Incoming(PORT, "steal", Address("10.0.0.2", 40000), Address("10.0.0.1", PORT))


def test_a_refusal_that_comes_late_is_told() -> None:
    async def main() -> None:
        told: asyncio.Queue[Event] = asyncio.Queue()
        events = Events()
        events.listen(told.put_nowait)
        deliveries = Deliveries(events, "tcp")
        arrived: asyncio.Queue[Stream] = asyncio.Queue()
        async with (
            asyncio.timeout(20 * TELL_EVERY_S),
            tunnels(lambda stream, _: arrived.put_nowait(stream)) as (one, _),
        ):
            one.open(b"")
            deliveries.came(PORT)
            assert await told.get() == PortDelivered(PORT, 1, 0, "", "tcp")
            deliveries.refuse(await arrived.get(), REQUEST, 111)
            late = await told.get()
        assert isinstance(late, PortDelivered)
        assert (late.port, late.refused) == (PORT, 1)
        assert "10.0.0.2" in late.why

    asyncio.run(main())
