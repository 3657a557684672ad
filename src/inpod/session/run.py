"""One session from start to end: plan, act, undo."""

import asyncio
import contextlib
import logging
import resource
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from inpod.errors import ExitCode, UserError
from inpod.launch.process import Process
from inpod.protocol import agent, layer
from inpod.session.asked import Asked
from inpod.session.events import Events, Note, Step, Summary
from inpod.session.files.replica import Replica
from inpod.session.files.service import Files
from inpod.session.files.views import Views
from inpod.session.folder import Folder
from inpod.session.incoming.connections import Incoming
from inpod.session.incoming.services import Services
from inpod.session.incoming.subscriptions import Subscriptions, Wishes
from inpod.session.incoming.udp import IncomingUdp
from inpod.session.last_words import have_arrive
from inpod.session.layer_server import LayerServer
from inpod.session.link import Link
from inpod.session.names.here import LocalNames
from inpod.session.names.pod import Names
from inpod.session.outgoing.connections import Outgoing, close_fd
from inpod.session.outgoing.destinations import Destinations
from inpod.session.outgoing.unix_streams import UnixStreams
from inpod.session.outside import Outside
from inpod.session.plan import Plan
from inpod.session.program import environment_of, look_in_pod, start_program
from inpod.session.relays import Relays
from inpod.session.rules import rules_text
from inpod.session.signals import Signals
from inpod.session.status import Status
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.session.tracer import Tracer
from inpod.targets.base import AgentLink, Target
from inpod.targets.undo import Undo, failure_before
from inpod.tunnel.streams import Stream

log = logging.getLogger(__name__)

UNDO_LIMIT_S = 20.0
"""Longest that ending the agent may take; its lease does the rest."""

OUTGOING_HINT = "Mirroring copies what comes in; what the program sends out is real."


async def run(plan: Plan, target: Target, events: Events) -> int:
    """Run the program of `plan` in the place of `target`.

    Returns:
        The program's exit status; minus the number of the signal that ended it, or the start.

    Raises:
        UserError: The start failed; nothing is left of it. Or the agent was lost for good.
    """
    signals = Signals()
    try:
        async with Undo() as undo:
            descriptor_limit = _raise_descriptor_limit()
            events.emit(Step(f"Looking for {target.name}"))
            way = await target.start_agent(lambda text: events.emit(Step(text)))
            undo.push_async_callback(_in_time, way.close)
            session = _Session(plan, way, events)
            undo.callback(session.link.close)
            events.emit(Step("Talking to the agent"))
            welcome, remote = await session.link.greet()
            session.check(welcome)
            folder = Folder()
            undo.callback(folder.remove)
            session.serve(folder, welcome, undo)
            undo.push_async_callback(session.tasks.close)
            undo.callback(signals.hold_off)
            process = await session.start_program(folder, remote, descriptor_limit)
            undo.callback(process.close)
            undo.push_async_callback(process.end)
            status = await session.until_end(process)
            # The terminal is ours again, and its Ctrl-C.
            process.close()
            signals.hold_off()
            await session.finish(signals)
            return status
    except asyncio.CancelledError as cancelled:
        if not signals.caught:
            raise
        if failure := failure_before(cancelled):
            events.emit(Note(f"Interrupted, after this: {failure.line}"))
        return -signals.caught
    finally:
        signals.close()


class _Session:
    """What lives as long as the program: the link, and the features that answer the layer."""

    def __init__(self, plan: Plan, way: AgentLink, events: Events) -> None:
        self.tasks = Tasks()
        self._relays = Relays()
        wants: list[agent.Mode] = [] if plan.mode == "off" else [plan.mode]
        hello = agent.Hello(agent.PROTOCOL_VERSION, wants, plan.redirect, list(way.addresses))
        self.link = Link(way, self._on_stream, events, hello)
        self._names = Names(self.link.tunnel)
        self._destinations = Destinations(plan.way, self._names.resolve, events)
        self._plan = plan
        self._way = way
        self._events = events
        self._reads_files = plan.files != "local"
        self._incoming: dict[agent.IpProtocol, Incoming] = {}
        self._outgoing: Outgoing | None = None
        self._files: Files | None = None
        self._tracer: Tracer | None = None
        self._outside = Outside(events)
        self._unix_streams: UnixStreams | None = None

    def check(self, welcome: agent.Welcome) -> None:
        """Refuse what the agent cannot do, before anything is started.

        Raises:
            UserError: The traffic cannot be had.
        """
        mode = self._plan.mode
        if mode != "off" and (reason := welcome.cannot.get(mode)):
            other = "mirror without --steal" if mode == "steal" else "set feature.network.incoming.mode to off"
            raise UserError(
                f"Cannot {mode} the traffic of {self.link.describes}: {reason}",
                hint=f"Use another kernel or more rights for the agent, or {other}.",
                exit_code=ExitCode.NO_MEANS,
            )
        if reason := welcome.cannot.get("env"):
            self._events.emit(Note(f"No environment of the target: {reason}"))
        if self._reads_files and (reason := welcome.cannot.get("files")):
            self._reads_files = False
            self._events.emit(Note(f"No files of the target: {reason}"))

    def serve(self, place: Folder, welcome: agent.Welcome, undo: AsyncExitStack) -> None:
        """Set up what the layer needs, step by step; each is undone by `undo`."""
        plan, events, tunnel, folder = self._plan, self._events, self.link.tunnel, place.path
        events.listen(Status(folder, plan.argv).on_event)
        table = Table(folder / "table")
        undo.callback(table.close)
        root = folder / "replica"
        root.mkdir(0o700)
        replica = Replica(root)
        undo.callback(replica.close)
        names = LocalNames.of(plan.way, welcome.search)
        self._files = Files(tunnel, replica, Views(names.hosts if names else None))
        # Before the program's first question.
        self._follow_files()
        wishes = self._wishes()
        services = Services(self._way.read_leads, tunnel, self.tasks, events)
        if self._way.read_leads is not None:
            undo.callback(Asked(folder, services.look_again, self.tasks).close)
        common = (table, events, plan.mode, self.tasks, self._relays, plan.ports, services)
        incoming = Incoming(*common, Subscriptions(tunnel, wishes, events))
        incoming.addresses = frozenset(layer.Addr.of(text.partition("%")[0], 0).ip for text in welcome.addresses)
        undo.callback(incoming.close)
        udp = IncomingUdp(*common, Subscriptions(tunnel, wishes.of_datagrams(), events))
        undo.callback(udp.close)
        self._incoming = {"tcp": incoming, "udp": udp}
        outgoing = Outgoing(tunnel, table, incoming.own_listener, self.tasks, self._relays, udp.answer_by, names)
        self._outgoing = outgoing
        undo.callback(outgoing.close)
        if plan.mode == "mirror":
            outgoing.on_first = lambda: events.emit(Note(OUTGOING_HINT, "info"))
        self._unix_streams = UnixStreams(tunnel, folder, plan.way.unix_streams, self._relays)
        hostname = welcome.hostname
        rules = rules_text(plan, folder, self._way.mounts, files_work=self._reads_files, hostname=hostname)
        (folder / "rules").write_bytes(rules)
        tracer = self._tracer = Tracer(plan.native, place, events)
        undo.push_async_callback(tracer.close)
        server = LayerServer(folder / "layer.sock", self._answer)
        undo.callback(server.close)

    def _wishes(self) -> Wishes:
        plan = self._plan
        return Wishes(
            mode="steal" if plan.mode == "steal" else "mirror",
            filter=plan.filter,
            filtered_ports=frozenset(plan.filtered_ports) if plan.filtered_ports else None,
            probe_ports=frozenset() if plan.steals_probes else frozenset(self._way.probe_ports),
            flush=plan.flush,
            on_conflict="override" if plan.on_conflict == "override" else "refuse",
            goes_on=plan.on_conflict == "continue",
        )

    async def start_program(self, folder: Folder, remote: dict[str, str], descriptor_limit: tuple[int, int]) -> Process:
        """Start the program.

        Raises:
            UserError: It cannot be executed.
        """
        plan = self._plan
        environment = environment_of(plan, folder.path, remote)
        if plan.is_pods:
            self._events.emit(Step(f"Looking for {plan.argv[0]} in the pod"))
            await look_in_pod(plan, environment)
        self._events.emit(Summary(self.link.describes, plan.mode, plan.files if self._reads_files else "local"))
        process = start_program(plan, environment, folder.guardian, descriptor_limit)
        if plan.interceptor == "tracer" and self._tracer is not None:
            self._tracer.main = process.pid
        return process

    async def until_end(self, process: Process) -> int:
        """Wait for the program, and keep the link meanwhile.

        Raises:
            UserError: The agent was lost for good, and the program ended for that.
        """
        for incoming in self._incoming.values():
            self.tasks.spawn(incoming.watch())
        keeping = self.tasks.spawn(self.link.keep(self._again))
        ending = self.tasks.spawn(process.wait())
        await asyncio.wait([keeping, ending], return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            return ending.result()
        await process.end()
        why = self.link.why_gone
        ends = f"is lost: {why} The program was ended." if why else "is lost; the program was ended."
        raise UserError(
            f"The agent of {self.link.describes} {ends}",
            hint="Look at the pod and at the connection to the cluster, then run the command again.",
            exit_code=ExitCode.AGENT_LOST,
        )

    async def finish(self, signals: Signals) -> None:
        """Have arrive what the program said in its last moment."""
        assert self._outgoing is not None
        for incoming in self._incoming.values():
            incoming.close()
        self._outgoing.close()
        await have_arrive(self._relays, self.link.tunnel(), self._events, signals)

    async def _again(self) -> None:
        self._follow_files()
        for incoming in self._incoming.values():
            await incoming.subscribe_again()

    def _follow_files(self) -> None:
        if self._reads_files and self._files is not None:
            self.tasks.spawn(self._files.follow())

    def _on_stream(self, stream: Stream, head: bytes) -> None:
        with contextlib.suppress(agent.PeerProtocolError):
            request = agent.decode_request(head)
            if isinstance(request, agent.Incoming) and self._incoming:
                self._incoming[request.protocol].take(stream, request)
                return
        stream.refuse()

    def _answer(self, request: layer.Request, fd: int) -> bytes | Awaitable[bytes]:
        """Answer a layer. Only CONNECT and UNIX have a use for a descriptor."""
        assert self._outgoing is not None
        assert self._files is not None
        if isinstance(request, layer.Connect):
            connect = self._outgoing.connect
            return self._destinations.decide(request, fd, connect) if request.is_undecided else connect(request, fd)
        if isinstance(request, layer.Unix):
            assert self._unix_streams is not None
            return self._unix_streams.connect(request, fd)
        close_fd(fd)
        match request:
            case layer.Bind():
                return self._incoming["udp" if request.is_udp else "tcp"].bind(request)
            case layer.Listen():
                return self._incoming["udp" if request.is_udp else "tcp"].listen(request)
            case layer.Resolve() | layer.Name():
                return self._names.answer(request)
            case layer.Question():
                return self._names.ask(request)
            case layer.File():
                return self._files.make_available(request)
            case layer.Warn():
                return self._outside.warn(request)
            case layer.Trace():
                assert self._tracer is not None
                return self._tracer.trace(request)


async def _in_time(undo: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(UNDO_LIMIT_S):
            await undo()
    except TimeoutError:
        log.warning("The agent has not ended within %g s. It ends by itself, within a minute.", UNDO_LIMIT_S)


def _raise_descriptor_limit() -> tuple[int, int]:
    """Allow as many descriptors as may be, for two of each connection; return what was allowed before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard
