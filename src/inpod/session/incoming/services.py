"""Tells who waits at a port whether the services before the target lead there, and tries those that should."""

import asyncio
from collections.abc import Callable, Coroutine

from inpod.protocol import agent
from inpod.session.events import Events, Note, PortServices
from inpod.session.tasks import Tasks
from inpod.targets.base import Lead, Leads
from inpod.tunnel.streams import StreamRefused, Tunnel


class Services:
    """Looked at when the first port is had, and when somebody asks.

    Args:
        read: As `AgentLink.read_leads`.
    """

    def __init__(
        self,
        read: Callable[[], Coroutine[None, None, Leads]] | None,
        tunnel: Callable[[], Tunnel],
        tasks: Tasks,
        events: Events,
    ) -> None:
        self._read = read
        self._tasks = tasks
        self._tunnel = tunnel
        self._events = events
        self._reading: asyncio.Task[Leads] | None = None
        self._told: dict[tuple[int, agent.IpProtocol], list[Lead]] = {}

    async def tell(self, port: int, protocol: agent.IpProtocol) -> None:
        """Tell of a port of the target that was just had."""
        if self._read is None:
            return
        if self._reading is None:
            self._reading = self._tasks.spawn(self._read())
        await self._tell(port, protocol, await asyncio.shield(self._reading))

    async def look_again(self) -> None:
        """Look at the services anew, and tell of the ports of which there is something else to be said."""
        # Others who ask at the same time wait for the same answer.
        if self._read is not None and self._reading is not None and self._reading.done():
            self._reading = self._tasks.spawn(self._read())
        if self._reading is not None:
            leads_of = await asyncio.shield(self._reading)
            await asyncio.gather(*(self._tell(port, protocol, leads_of) for port, protocol in list(self._told)))

    async def _tell(self, port: int, protocol: agent.IpProtocol, leads_of: Leads) -> None:
        leads = leads_of(port, protocol)
        before = self._told.get((port, protocol))
        # None at all: the API server does not answer now.
        if before is not None and (leads == before or not leads):
            return
        self._told[port, protocol] = leads
        tried = await asyncio.gather(*(self._try(lead, port) for lead in leads))
        self._events.emit(PortServices(port, tuple(lead.text for lead in tried), protocol))
        what = "UDP port" if protocol == "udp" else "Port"
        for lead in tried:
            if lead.level:
                self._events.emit(Note(f"{what} {port}: {lead.text}.", lead.level))

    async def _try(self, lead: Lead, port: int) -> Lead:
        """Return the lead, or what a test packet says instead."""
        tried = await asyncio.gather(*(self._arrives(address, port) for address in lead.addresses))
        called = [
            f"{address.ip}:{address.port}"
            for address, arrived in zip(lead.addresses, tried, strict=True)
            if arrived is False
        ]
        if called:
            return Lead(
                f"{lead.text} by its definition, but a packet to {', '.join(called)} did not arrive: "
                "a network policy keeps it out, or nothing on the node leads it here",
                "warning",
            )
        return Lead(f"{lead.text}, as a packet did just now", lead.level) if True in tried else lead

    async def _arrives(self, to: agent.Address, port: int) -> bool | None:
        """Return whether what calls `to` arrives at the target's port; None when nobody knows."""
        try:
            answer = await self._tunnel().ask(agent.encode(agent.Knock(to, port)))
            return agent.decode_answer(agent.Knocked, answer).arrived
        except (StreamRefused, agent.PeerProtocolError):
            return None
