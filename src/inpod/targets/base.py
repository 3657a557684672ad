"""What every target gives a session: a byte stream to the agent that runs beside it."""

import socket
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from inpod.errors import ExitCode, UserError
from inpod.protocol.agent import Address, IpProtocol


class AgentGone(Exception):
    """The agent ended for good: trying again does not help. Its text says why, where that is known."""


class Lead(NamedTuple):
    """What there is to say of a service to who waits at a port of the target.

    Attributes:
        level: How loudly; "": to those who ask.
        addresses: What others call, if the target alone gets it.
    """

    text: str
    level: Literal["", "info", "warning"] = ""
    addresses: tuple[Address, ...] = ()


Leads = Callable[[int, IpProtocol], list[Lead]]
"""Judges the services for a port."""


@dataclass(slots=True)
class AgentLink:
    """The way to a started agent. Who holds it must `close` it.

    Attributes:
        sock: A connected byte stream to the agent, which knows already who is there; the tunnel begins with its next byte.
        mounts: Paths of the target that its pod spec mounts.
        describes: The target that was found, for people: "pod api-7d9f8, container web".
        undo: Undoes all that was done to start the agent, last first.
        remake: Makes another `sock` to the same agent; None where that cannot be.
        probe_ports: Ports of the target that the kubelet asks for its health by HTTP or gRPC.
        addresses: The target's own IP addresses, where others share its network; empty: all there are.
        read_leads: Reads which services lead to the target; None where there are none.
        last_words: What the agent wrote last before it ended, where that is known; else "".
    """

    sock: socket.socket
    mounts: tuple[str, ...]
    describes: str
    undo: Callable[[], Awaitable[None]]
    remake: Callable[[], Awaitable[socket.socket]] | None = None
    probe_ports: tuple[int, ...] = ()
    last_words: Callable[[], str] = lambda: ""
    addresses: tuple[str, ...] = ()
    read_leads: Callable[[], Coroutine[None, None, Leads]] | None = None

    async def reconnect(self) -> socket.socket:
        """Return a new stream to the same agent, in the place of `sock`, which whoever took it closes.

        Raises:
            UserError: It cannot be reached (now); trying again later may help.
            AgentGone: It will not be there again.
        """
        if self.remake is None:
            raise UserError(
                f"The agent of {self.describes} is gone.", hint="Run the command again.", exit_code=ExitCode.AGENT_LOST
            )
        self.sock = await self.remake()
        return self.sock

    async def close(self) -> None:
        """End the agent, and leave nothing."""
        await self.undo()
        self.sock.close()


class Target(Protocol):
    """Something that can be imitated.

    Attributes:
        name: As the user named it.
    """

    @property
    def name(self) -> str: ...

    async def start_agent(self, report: Callable[[str], None]) -> AgentLink:
        """Start an agent beside the target; `report` is told each step, in a few words.

        Raises:
            UserError: It cannot be; then nothing is left of the attempt.
        """
        ...
