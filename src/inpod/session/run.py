"""One session from start to end: plan, act, undo."""

import asyncio
import contextlib
import json
import os
from contextlib import AsyncExitStack
from pathlib import Path

from inpod.errors import ExitCode, UserError
from inpod.launch.environment import program_environment
from inpod.launch.process import Process, start
from inpod.protocol import agent, layer
from inpod.session.dns import resolve
from inpod.session.events import AgentLost, Events, Note, Reconnected, Step, Summary
from inpod.session.files.replica import Replica
from inpod.session.files.service import Files
from inpod.session.folder import Folder
from inpod.session.incoming import Incoming
from inpod.session.layer_server import LayerServer
from inpod.session.outgoing import Outgoing, close_fd
from inpod.session.plan import Plan
from inpod.session.rules import rules_text
from inpod.session.table import Table
from inpod.targets.base import AgentLink, Target
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

HELLO_LIMIT_S = 20.0
RECONNECT_FOR_S = 30.0
RECONNECT_EVERY_S = 1.0

OUTGOING_HINT = "Mirroring copies what comes in; what the program sends out is real."


async def run(plan: Plan, target: Target, events: Events) -> int:
    """Run the program of `plan` in the place of `target`.

    Returns:
        The program's exit status; minus the number of the signal that ended it.

    Raises:
        UserError: The start failed; nothing is left of it. Or the agent was lost for good.
    """
    async with AsyncExitStack() as undo:
        events.emit(Step(f"Looking for {target.name}"))
        link = await target.start_agent(lambda text: events.emit(Step(text)))
        undo.push_async_callback(link.close)
        session = _Session(plan, link, events)
        undo.callback(session.close)
        welcome, remote = await session.greet()
        folder = Folder()
        undo.callback(folder.remove)
        process = session.start_program(folder, welcome, remote, undo)
        return await session.until_end(process)


class _Session:
    """What lives as long as the program: the tunnel, and the features that answer the layer."""

    def __init__(self, plan: Plan, link: AgentLink, events: Events) -> None:
        self._plan = plan
        self._link = link
        self._events = events
        self._tunnel = Tunnel(initiator=True, on_stream=self._on_stream)
        self._incoming: Incoming | None = None
        self._outgoing: Outgoing | None = None
        self._files: Files | None = None

    def close(self) -> None:
        self._tunnel.close()

    async def greet(self) -> tuple[agent.Welcome, dict[str, str]]:
        """Say hello; return what the agent can do, and the target's environment."""
        self._events.emit(Step("Talking to the agent"))
        await self._tunnel.attach(self._link.sock)
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                hello = await self._tunnel.ask(agent.encode(agent.Hello(agent.PROTOCOL_VERSION)))
                welcome = agent.decode_answer(agent.Welcome, hello)
                self._check_abilities(welcome)
                remote: dict[str, str] = {}
                if "env" not in welcome.cannot:
                    remote = json.loads(await self._tunnel.fetch(agent.encode(agent.ReadEnv())))
                else:
                    self._events.emit(Note(f"No environment of the target: {welcome.cannot['env']}"))
                return welcome, remote
        except StreamRefused as refused:
            raise _no_agent(refused, self._link) from refused
        except TimeoutError:
            raise UserError(
                f"The agent of {self._link.describes} does not answer.",
                hint="Try again; if it stays so, look at the agent's pod and its node.",
                exit_code=ExitCode.AGENT_START,
            ) from None

    def _check_abilities(self, welcome: agent.Welcome) -> None:
        mode = self._plan.mode
        if mode != "off" and (reason := welcome.cannot.get(mode)):
            other = "mirror without --steal" if mode == "steal" else "set feature.network.incoming.mode to off"
            raise UserError(
                f"Cannot {mode} the traffic of {self._link.describes}: {reason}",
                hint=f"Use another kernel or more rights for the agent, or {other}.",
                exit_code=ExitCode.NO_MEANS,
            )
        if self._plan.files == "read" and (reason := welcome.cannot.get("files")):
            self._events.emit(Note(f"No files of the target: {reason}"))

    def start_program(
        self, folder: Folder, welcome: agent.Welcome, remote: dict[str, str], undo: AsyncExitStack
    ) -> Process:
        """Set up what the layer needs, then start the program. Each step is undone by `undo`."""
        plan, events = self._plan, self._events
        table = Table(folder.path / "table")
        undo.callback(table.close)
        root = folder.path / "replica"
        root.mkdir(0o700)
        replica = Replica(root)
        undo.callback(replica.close)
        self._files = Files(lambda: self._tunnel, replica)
        incoming = self._incoming = Incoming(lambda: self._tunnel, table, events, plan.mode)
        incoming.addresses = set(welcome.addresses)
        undo.callback(incoming.close)
        outgoing = self._outgoing = Outgoing(lambda: self._tunnel, table, incoming.own_listener)
        undo.callback(outgoing.close)
        if plan.mode == "mirror":
            outgoing.on_first = lambda: events.emit(Note(OUTGOING_HINT, "info"))
        rules = rules_text(plan, folder.path, self._link.mounts, files_work="files" not in welcome.cannot)
        (folder.path / "rules").write_bytes(rules)
        server = LayerServer(folder.path / "layer.sock", self._answer)
        undo.callback(server.close)
        environment = program_environment(remote, os.environ, include=plan.env_include, exclude=plan.env_exclude)
        environment |= layer_environment(plan.layer, folder.path, environment)
        events.emit(Summary(self._link.describes, plan.mode, plan.files))
        process = start(plan.executable, plan.argv, environment, folder.path)
        undo.callback(process.close)
        return process

    async def until_end(self, process: Process) -> int:
        """Wait for the program, and keep the link meanwhile."""
        async with asyncio.TaskGroup() as group:
            assert self._incoming is not None
            watching = group.create_task(self._incoming.watch())
            keeping = group.create_task(self._keep_link())
            ending = group.create_task(process.wait())
            await asyncio.wait([keeping, ending], return_when=asyncio.FIRST_COMPLETED)
            watching.cancel()
            if not ending.done():
                await process.end()
                raise_lost = True
            else:
                keeping.cancel()
                raise_lost = False
        if raise_lost:
            raise UserError(
                f"The agent of {self._link.describes} is lost; the program was ended.",
                hint="Look at the pod and at the connection to the cluster, then run the command again.",
                exit_code=ExitCode.AGENT_LOST,
            )
        return ending.result()

    async def _keep_link(self) -> None:
        """Make a lost link again; return when that cannot be."""
        while True:
            await asyncio.shield(self._tunnel.lost)
            self._events.emit(AgentLost())
            if self._link.remake is None:
                return
            loop = asyncio.get_running_loop()
            end = loop.time() + RECONNECT_FOR_S
            while not await self._reconnected():
                if loop.time() > end:
                    return
                await asyncio.sleep(RECONNECT_EVERY_S)
            self._events.emit(Reconnected())

    async def _reconnected(self) -> bool:
        tunnel = Tunnel(initiator=True, on_stream=self._on_stream)
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                await tunnel.attach(await self._link.reconnect())
                await tunnel.ask(agent.encode(agent.Hello(agent.PROTOCOL_VERSION)))
        except (UserError, OSError, StreamRefused):
            tunnel.close()
            return False
        self._tunnel = tunnel
        if self._incoming is not None:
            await self._incoming.subscribe_again()
        return True

    def _on_stream(self, stream: Stream, head: bytes) -> None:
        with contextlib.suppress(agent.PeerProtocolError):
            request = agent.decode_request(head)
            if isinstance(request, agent.Incoming) and self._incoming is not None:
                self._incoming.take(stream, request)
                return
        stream.refuse()

    def _answer(self, request: layer.Request, fd: int) -> "bytes | asyncio.Future[bytes]":
        """Answer a layer. Only CONNECT has a use for a descriptor."""
        assert self._incoming is not None
        assert self._outgoing is not None
        assert self._files is not None
        if isinstance(request, layer.Connect):
            return self._outgoing.connect(request, fd)
        close_fd(fd)
        match request:
            case layer.Bind():
                return self._incoming.bind(request)
            case layer.Listen():
                return asyncio.ensure_future(self._incoming.listen(request))
            case layer.Resolve():
                return asyncio.ensure_future(resolve(self._tunnel, request))
            case layer.File():
                return asyncio.ensure_future(self._files.make_available(request))
            case layer.Warn(why, path):
                text = f"{os.fsdecode(path)} runs outside the pod: the layer cannot reach a {why} program."
                self._events.emit(Note(text))
                return layer.encode_reply(0)


def layer_environment(library: Path, folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return the two variables that the layer needs; what was preloaded before stays."""
    before = environment.get("LD_PRELOAD", "")
    return {"LD_PRELOAD": f"{library}:{before}" if before else str(library), "INPOD_SESSION": str(folder)}


def _no_agent(refused: StreamRefused, link: AgentLink) -> UserError:
    try:
        refusal = agent.decode_answer(agent.Refusal, refused.payload)
        reason = refusal.reason or os.strerror(refusal.code)
    except agent.PeerProtocolError:
        reason = "it ended at once"
    return UserError(
        f"The agent of {link.describes} cannot work: {reason}",
        hint="Check that the target still runs and that the agent has the rights that docs/reference/rbac.md names.",
        exit_code=ExitCode.AGENT_START,
    )
