"""The pod's incoming connections, delivered to the program's listeners."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from inpod.protocol import agent
from inpod.protocol.layer import Addr, Bind, Listen, encode_reply
from inpod.session.events import Events, Note, PortSubscribed
from inpod.session.listeners import listening_ports
from inpod.session.table import Table
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""How soon a closed listener is noticed: nothing tells us."""

CONNECT_TIMEOUT_S = 10.0


@dataclass
class Listener:
    """One port of the program.

    Attributes:
        wanted: As the program sees it.
        real: Where it listens on this machine.
        stream: The subscription; None for a port that stays local.
    """

    wanted: Addr
    real: Addr
    stream: Stream | None = None


class Incoming:
    """Answers LISTEN and BIND requests, and takes the agent's Incoming streams."""

    def __init__(self, tunnel: Callable[[], Tunnel], table: Table, events: Events, mode: str) -> None:
        self._tunnel = tunnel
        self._table = table
        self._events = events
        self._mode = mode
        self._listeners: dict[int, Listener] = {}
        self._locals: dict[int, Listener] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self.addresses: set[str] = set()
        """The pod's own IP addresses: connecting to them reaches one's own listener."""

    def close(self) -> None:
        """End all subscriptions and connections."""
        for task in self._tasks:
            task.cancel()
        for listener in self._listeners.values():
            if listener.stream is not None:
                listener.stream.refuse()

    def own_listener(self, to: Addr) -> Addr | None:
        """Return where the program itself listens on `to`, if it does."""
        found = self._listeners.get(to.port) or self._locals.get(to.port)
        if found is None or not (_is_here(to) or to.host in self.addresses):
            return None
        return found.real

    def bind(self, request: Bind) -> bytes:
        """Reply whether a port that is taken on this machine may be replaced by another."""
        taken = request.wanted.port in self._listeners and not request.reuse_port
        return encode_reply(errno.EADDRINUSE if taken else 0)

    async def listen(self, request: Listen) -> bytes:
        """Subscribe the pod's port, once for all listeners of it."""
        port = request.wanted.port
        listener = Listener(request.wanted, request.real)
        if request.is_local or self._mode == "off":
            self._locals[request.real.port] = listener
            return encode_reply(0)
        if port in self._listeners:
            return encode_reply(0)
        self._listeners[port] = listener
        try:
            await self._subscribe(port, listener)
        except StreamRefused as refused:
            del self._listeners[port]
            self._events.emit(Note(f"The pod's port {port} cannot be had: {_reason(refused)}"))
            return encode_reply(0)
        if request.real.port != port:
            text = f"Port {port} cannot be had on this machine: the program listens on {request.real}, and still sees {port}."
            self._events.emit(Note(text, "info"))
        self._events.emit(PortSubscribed(port, self._mode, str(request.real)))
        return encode_reply(0)

    async def subscribe_again(self) -> None:
        """After the link was made anew."""
        for port, listener in list(self._listeners.items()):
            try:
                await self._subscribe(port, listener)
            except StreamRefused as refused:
                self._events.emit(Note(f"The pod's port {port} cannot be had again: {_reason(refused)}"))

    async def watch(self) -> None:
        """Drop the subscriptions of listeners that are closed, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._listeners:
                there = listening_ports()
                for port, listener in list(self._listeners.items()):
                    if listener.real.port not in there:
                        self._drop(port)

    def take(self, stream: Stream, request: agent.Incoming) -> None:
        """Deliver a connection of the pod."""
        listener = self._listeners.get(request.port)
        if listener is None:
            stream.refuse()
            return
        task = asyncio.ensure_future(self._deliver(stream, request, listener))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _subscribe(self, port: int, listener: Listener) -> None:
        mode: agent.Mode = "steal" if self._mode == "steal" else "mirror"
        stream = self._tunnel().open(agent.encode(agent.Subscribe(port, mode)))
        await stream.accepted()
        listener.stream = stream
        task = asyncio.ensure_future(self._count_drops(stream, port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _count_drops(self, stream: Stream, port: int) -> None:
        rest = b""
        try:
            while data := await stream.read():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    dropped = agent.decode_answer(agent.Dropped, line)
                    text = f"{dropped.packets} packets of port {port} were too many to mirror and are missing."
                    self._events.emit(Note(text))
        except (StreamRefused, agent.PeerProtocolError):
            return

    def _drop(self, port: int) -> None:
        listener = self._listeners.pop(port)
        if listener.stream is not None:
            listener.stream.refuse()

    async def _deliver(self, stream: Stream, request: agent.Incoming, listener: Listener) -> None:
        real = listener.real
        sock = socket.socket(socket.AF_INET6 if ":" in real.host else socket.AF_INET)
        port = 0
        try:
            sock.setblocking(False)
            sock.bind((real.host, 0))
            port = sock.getsockname()[1]
            family = real.family
            self._table.set_port(
                port,
                peer=Addr.of(request.peer.ip, request.peer.port, family),
                local=Addr.of(request.local.ip, request.local.port, family),
            )
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(sock, (real.host, real.port))
        except OSError:  # TimeoutError is one
            sock.close()
            stream.refuse()
            if real.port not in listening_ports() and self._listeners.get(request.port) is listener:
                self._drop(request.port)
        else:
            stream.accept()
            await relay(stream, sock, discard=request.mode == "mirror")
        finally:
            if port:
                self._table.clear_port(port)


def _is_here(to: Addr) -> bool:
    host = to.host
    return host.startswith("127.") or host in ("::1", "::", "0.0.0.0")  # noqa: S104 # compared, not bound


def _reason(refused: StreamRefused) -> str:
    try:
        refusal = agent.decode_answer(agent.Refusal, refused.payload)
    except agent.PeerProtocolError:
        return "the agent is lost"
    return refusal.reason or errno.errorcode.get(refusal.code, str(refusal.code))
