"""Starts one agent and hands its code over; knows how to come back to it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from inpod.errors import ExitCode, UserError
from inpod.targets.base import AgentGone
from inpod.targets.kube.background import Background
from inpod.targets.kube.bootstrap import Keys, NotReady, code, command, present_token, recognise, send_code
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.place import Place
from inpod.targets.kube.portforward import PodGone, PortForward, PortForwardFailed
from inpod.targets.kube.progress import Started
from inpod.targets.kube.refusals import ApiRefusal, explain

POLL_EVERY_S = 0.1
POLL_SLOWLY_S = 1.0

Report = Callable[[str], None]


class Start:
    """One start of one agent.

    Attributes:
        awaits: What it is waiting for, for people: "the agent to answer: … connection refused".
    """

    def __init__(self, cluster: Cluster, place: Place, container_id: str, report: Report) -> None:
        """Prepare.

        Args:
            container_id: Of the target.
        """
        self.awaits = "the API server"
        self._cluster = cluster
        self._place = place
        self._container_id = container_id
        self._report = report
        self._keys = Keys.new()
        self._pod = ""
        self._background = Background()
        # Who listens at the port is known; the agent may have its code.
        self._is_ours = not place.is_shared
        self._may_serve = False

    async def act(self, undo: AsyncExitStack) -> socket.socket:
        """Create the container, wait until it runs, hand the code over; each step's undo goes onto `undo`."""
        # Before the creation: what was not answered may be there all the same.
        undo.push_async_callback(self._place.end)
        undo.push_async_callback(self._background.close)
        program = command(self._keys.token, self._container_id, self._place.port)
        await self._place.create(program, self._keys.countersign)
        self._report(self._place.made)
        self._background.start(self._place.keep())
        # Packed while the cluster makes the container, not when that waits for it.
        code()
        sock = await self._hand_over()
        self._report("The agent is connected")
        return sock

    async def reconnect(self) -> socket.socket:
        """Return a new connection to the agent.

        Raises:
            UserError: The API server or the agent cannot be reached.
            AgentGone: Its pod was deleted, or its container ended.
        """
        # Where only the container ended, the port-forward begins well.
        await self._require_no_end()
        try:
            async with self._connected() as forward:
                await present_token(forward.sock, self._keys)
        except PodGone as error:
            raise AgentGone from error
        except PortForwardFailed as error:
            raise self._lost(str(error) or "it does not answer") from error
        return forward.sock

    async def _hand_over(self) -> socket.socket:
        """Give the container's program the code, as soon as it listens: up to a second before kubelet says that it runs."""
        poll_s = POLL_EVERY_S
        while True:
            state = await self._place.look()
            is_started = isinstance(state, Started)
            self._wait(state.what)
            if state.pod:
                self._pod = state.pod
                try:
                    return await self._send_code()
                except PortForwardFailed as error:
                    if is_started:
                        # When the time is over, there is nothing else to go by.
                        self.awaits = ": ".join(filter(None, (state.what, str(error))))
            await asyncio.sleep(poll_s)
            poll_s = POLL_EVERY_S if is_started else min(poll_s * 1.2, POLL_SLOWLY_S)

    async def _send_code(self) -> socket.socket:
        if not self._is_ours:
            await self._recognise()
            self._is_ours = True
        say = present_token if self._may_serve else send_code
        try:
            async with self._connected() as forward:
                await say(forward.sock, self._keys)
        except PortForwardFailed as error:
            # Nobody says why: "ready" may have been lost on its way, and the agent serves, to whom the token is enough.
            self._may_serve = not str(error) and not self._may_serve
            raise
        return forward.sock

    async def _recognise(self) -> None:
        """See that the agent has its port: who had it before would get the token, and could go to the agent with it."""
        async with self._connected() as forward:
            await recognise(forward.sock, self._keys)
        await forward.close()

    def _lost(self, why: str) -> UserError:
        return UserError(
            f"The agent in pod {self._pod} is gone: {why}", hint="Run the command again.", exit_code=ExitCode.AGENT_LOST
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[PortForward]:
        """A connection to the agent's port, closed where the block fails.

        Raises:
            PortForwardFailed: The way's words, or the pod's, if it has any; also where nobody answers.
        """
        forward = await PortForward.open(self._cluster, self._pod, self._place.port, self._background)
        try:
            yield forward
        except BaseException as error:
            await forward.close()
            if isinstance(error, NotReady):
                raise PortForwardFailed(forward.error) from error
            raise

    async def _require_no_end(self) -> None:
        """Raise `AgentGone` when the agent's container has ended."""
        try:
            await self._place.look()
        except ApiRefusal as refused:
            raise explain(refused, self._cluster.server) from refused
        except UserError as error:
            if error.exit_code in (ExitCode.AGENT_START, ExitCode.TARGET_NOT_READY):
                raise AgentGone(error.message) from error
            raise

    def _wait(self, what: str) -> None:
        # What it waits for may have the last words of why beside it by now.
        if not self.awaits.startswith(what):
            self.awaits = what
            self._report(f"Waiting for {what}")
