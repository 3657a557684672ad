"""The link to the agent: greeted once, watched, and made again when it is lost."""

import asyncio
import contextlib
import errno
import json
import os
from collections.abc import Awaitable, Callable

from inpod.errors import ExitCode, UserError
from inpod.protocol import agent
from inpod.session.events import AgentLost, Events, Reconnected
from inpod.targets.base import AgentGone, AgentLink
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

HELLO_LIMIT_S = 20.0

LOOK_EVERY_S = 1.0
SILENT_LOOKS = 15
"""So many looks without a word of the agent, whose pings come twice a second, and the link counts as lost. Looks are
counted, not time: when this machine slept, nobody was silent."""

REFUSED = {
    errno.ESRCH: ExitCode.TARGET_NOT_FOUND,
    errno.ENOENT: ExitCode.TARGET_NOT_FOUND,
    errno.EPERM: ExitCode.NO_PERMISSION,
    errno.EACCES: ExitCode.NO_PERMISSION,
}
"""What a refused hello means, by its errno."""

RECONNECT_FOR_S = 30.0
RECONNECT_EVERY_S = 1.0


class Link:
    """A tunnel to the agent, and another one after that.

    Attributes:
        why_gone: Why the agent is gone for good, where that is known; else "".
    """

    def __init__(
        self,
        way: AgentLink,
        on_stream: Callable[[Stream, bytes], None],
        events: Events,
        hello: agent.Hello,
    ) -> None:
        self.why_gone = ""
        self._hello = agent.encode(hello)
        self._way = way
        self._on_stream = on_stream
        self._events = events
        self._tunnel = Tunnel(initiator=True, on_stream=on_stream)

    @property
    def describes(self) -> str:
        """The target, for people."""
        return self._way.describes

    def tunnel(self) -> Tunnel:
        """Return the tunnel of the moment; it may be lost."""
        return self._tunnel

    def close(self) -> None:
        """End the tunnel."""
        self._tunnel.close()

    async def greet(self) -> tuple[agent.Welcome, dict[str, str]]:
        """Return what the agent can do, and the target's environment: empty when that cannot be had.

        Raises:
            UserError: The agent does not answer, or cannot work.
        """
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                await self._tunnel.attach(self._way.sock)
                # Both at once: one round trip less before the program starts.
                return await asyncio.gather(_welcome(self._tunnel, self._hello), _environment(self._tunnel))
        except (StreamRefused, agent.PeerProtocolError) as error:
            raise self._cannot_work(error) from error
        except OSError:  # TimeoutError is one
            raise UserError(
                f"The agent of {self.describes} does not answer.",
                hint="Try again; if it stays so, look at the agent's pod and its node.",
                exit_code=ExitCode.AGENT_START,
            ) from None

    async def keep(self, on_again: Callable[[], Awaitable[None]]) -> None:
        """Make the link again whenever it is lost, then call `on_again`; return when it cannot be made."""
        while True:
            await self._until_lost()
            self._events.emit(AgentLost())
            if self._way.remake is None or not await self._made_again():
                return
            await on_again()
            self._events.emit(Reconnected())

    async def _until_lost(self) -> None:
        tunnel = self._tunnel
        heard, silent = tunnel.last_heard, 0
        while not tunnel.lost.done():
            await asyncio.wait([tunnel.lost], timeout=LOOK_EVERY_S)
            silent = silent + 1 if tunnel.last_heard == heard else 0
            heard = tunnel.last_heard
            if silent >= SILENT_LOOKS:
                tunnel.close()

    async def _made_again(self) -> bool:
        """Try until it works; False when there is no use in trying on."""
        loop = asyncio.get_running_loop()
        end = loop.time() + RECONNECT_FOR_S
        try:
            while not await self._reconnected():
                if loop.time() > end:
                    return False
                await asyncio.sleep(RECONNECT_EVERY_S)
        except AgentGone as gone:
            self.why_gone = str(gone)
            return False
        return True

    async def _reconnected(self) -> bool:
        tunnel = Tunnel(initiator=True, on_stream=self._on_stream)
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                await tunnel.attach(await self._way.reconnect())
                await _welcome(tunnel, self._hello)
        except (UserError, OSError, StreamRefused, agent.PeerProtocolError):
            tunnel.close()
            return False
        self._tunnel = tunnel
        return True

    def _cannot_work(self, error: Exception) -> UserError:
        reason, code = self._way.last_words() or "it ended at once.", ExitCode.AGENT_START
        if isinstance(error, StreamRefused) and error.payload:
            with contextlib.suppress(agent.PeerProtocolError):
                refusal = agent.decode_answer(agent.Refusal, error.payload)
                reason = refusal.reason or os.strerror(refusal.code)
                code = REFUSED.get(refusal.code, code)
        return UserError(
            f"The agent of {self.describes} cannot work: {reason}",
            hint="Check that the target still runs and that the agent may do that there.",
            exit_code=code,
        )


async def _welcome(tunnel: Tunnel, hello: bytes) -> agent.Welcome:
    return agent.decode_answer(agent.Welcome, await tunnel.ask(hello))


async def _environment(tunnel: Tunnel) -> dict[str, str]:
    """Return the target's environment, empty when the agent has none; why is in its welcome."""
    try:
        found = json.loads(await tunnel.fetch(agent.encode(agent.ReadEnv())))
    except StreamRefused as refused:
        if not refused.payload:
            raise
        return {}
    return {str(name): str(value) for name, value in found.items()}
