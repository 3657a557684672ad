"""The pod's incoming connections, delivered to the program's listeners.

A port of the pod has one subscription, however many sockets of the program listen on it (IPv4 and IPv6, SO_REUSEPORT).
For each connection the session connects to the program from a loopback port of its own (`sources`).
"""

import asyncio
import errno
import socket
from dataclasses import dataclass, field
from pathlib import Path

from inpod.config.incoming import Ports
from inpod.protocol import agent
from inpod.protocol.layer import Addr, Bind, Listen, encode_reply
from inpod.session.events import Events, Note, PortSubscribed
from inpod.session.incoming.listeners import Listener, choose, is_any, is_loopback, listening
from inpod.session.incoming.mirrored import Mirrored
from inpod.session.incoming.services import Services
from inpod.session.incoming.sources import Sources
from inpod.session.incoming.subscriptions import Answer, Subscriptions
from inpod.session.kernel_sockets import Place
from inpod.session.relays import Relays
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import Stream
from inpod.tunnel.tcp_state import is_established

LOOK_EVERY_S = 0.25
"""How soon a closed listener is noticed."""

CONNECT_TIMEOUT_S = 10.0


@dataclass
class _Port:
    """A port of the pod. Attributes:
    stream: The subscription, while there is one.
    """

    listeners: list[Listener] = field(default_factory=list)
    stream: Stream | None = None
    subscribing: "asyncio.Task[Answer] | None" = None


class Incoming:
    """Answers LISTEN and BIND requests, and takes the agent's Incoming streams.

    Attributes:
        what: A port, for people.
    """

    what = "port"

    def __init__(
        self,
        table: Table,
        events: Events,
        mode: str,
        tasks: Tasks,
        relays: Relays,
        ports: Ports,
        services: Services,
        subscriptions: Subscriptions,
    ) -> None:
        self._services = services
        self._subscriptions = subscriptions
        self._deliveries = subscriptions.deliveries
        self._pod_ports = dict(ports.mapped)
        self._listen_ports = ports.listen
        self._table = table
        self._events = events
        self._mode = mode
        self._tasks = tasks
        self._relays = relays
        self._ports: dict[int, _Port] = {}
        self._locals: dict[int, Listener] = {}
        self._sources = Sources(table)
        self._had: set[int] = set()
        self._announced: set[int] = set()
        self.addresses: frozenset[bytes] = frozenset()
        """The pod's own IP addresses, as `Addr.ip`: connecting to them reaches one's own listener."""
        self._prepare()

    def close(self) -> None:
        """End all subscriptions; connections go on."""
        self._deliveries.close()
        self._sources.close()
        for port in self._ports.values():
            if port.stream is not None:
                port.stream.refuse()

    def own_listener(self, to: Addr) -> Addr | None:
        """Return where the program itself listens on `to`, if it does."""
        if not (is_loopback(to.ip) or to.ip in self.addresses):
            return None
        found = choose(self._listeners_at(to.port), to.ip)
        return found.address_for(to) if found is not None and found.place in listening() else None

    def bind(self, request: Bind) -> bytes:
        """Reply whether a port that cannot be had on this machine may be replaced by another."""
        wanted = request.wanted
        port = self._ports.get(self._pod_port(wanted.port))
        if port is None or request.reuse_port:
            return encode_reply(0)
        there = self._there()
        is_taken = any(
            other.place in there
            and other.wanted.family == wanted.family
            and (is_any(other.wanted.ip) or is_any(wanted.ip) or other.wanted.ip == wanted.ip)
            for other in port.listeners
        )
        return encode_reply(errno.EADDRINUSE if is_taken else 0)

    async def listen(self, request: Listen) -> bytes:
        """Subscribe the pod's port, once for all listeners of it."""
        listener = Listener(request.wanted, request.real)
        if request.is_local or self._mode == "off":
            self._locals[request.real.port] = listener
            return encode_reply(0)
        number = self._pod_port(request.wanted.port)
        port = self._ports.setdefault(number, _Port())
        port.listeners = [other for other in port.listeners if other.place != listener.place]
        port.listeners.append(listener)
        if port.stream is None:
            code, reason = await self._subscribed(number, port)
            if code:
                fails = code == errno.EADDRINUSE and not self._subscriptions.goes_on
                if self._ports.pop(number, None) is port:
                    way_out = (
                        " (feature.network.incoming: an http_filter shares it, on_concurrent_steal takes it or goes on)"
                    )
                    otherwise = way_out if fails else "; the program goes on without it."
                    self._subscriptions.note(
                        number, f"The pod's {self.what} {number} cannot be had: {reason}{otherwise}"
                    )
                if not fails:
                    self._locals[listener.real.port] = listener
                return encode_reply(errno.EADDRINUSE if fails else 0)
        self._announce(number, listener)
        return encode_reply(0)

    async def subscribe_again(self) -> None:
        """After the link was made anew."""
        for number, port in list(self._ports.items()):
            if port.stream is not None and not port.stream.closed:
                continue  # by the new link: the program listened meanwhile
            port.stream = None
            code, reason = await self._subscribed(number, port)
            if code:
                self._subscriptions.note(number, f"The pod's {self.what} {number} cannot be had again: {reason}")

    async def watch(self) -> None:
        """Drop the subscriptions of listeners that are closed, for ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._ports or self._locals:
                self._drop_closed()

    def take(self, stream: Stream, request: agent.Incoming) -> None:
        """Deliver a connection of the pod."""
        self._deliveries.came(request.port)
        peer, local = _addr(request.peer), _addr(request.local)
        port = self._ports.get(request.port)
        listener = choose(port.listeners, peer.ip) if port is not None else None
        if listener is None:
            why = "no listener of the program takes that version of IP"
            self._deliveries.refuse(stream, request, errno.ECONNREFUSED, why)
            return
        family = listener.wanted.family
        # What getsockname tells is the program's own port, also where that is mapped to another of the pod.
        local = Addr(family, listener.wanted.port, local.ip)
        self._connect(stream, request, listener, Addr(family, peer.port, peer.ip), local)

    def _prepare(self) -> None:
        """Make what a subclass has more."""

    def _there(self) -> set[Place]:
        """Return where somebody on this machine listens."""
        return listening()

    def _pod_port(self, number: int) -> int:
        """Return the pod's port for a port of the program."""
        return self._pod_ports.get(number, number)

    def _listeners_at(self, number: int) -> list[Listener]:
        port = self._ports.get(self._pod_port(number))
        found = list(port.listeners) if port is not None else []
        # Also by the port that it really has.
        found += [
            listener for other in self._ports.values() for listener in other.listeners if listener.real.port == number
        ]
        if (local := self._locals.get(number)) is not None:
            found.append(local)
        return found

    def _announce(self, number: int, listener: Listener) -> None:
        """Tell the user of a port of the pod, once."""
        if number in self._announced:
            return
        self._announced.add(number)
        real = str(listener.real)
        wanted = listener.wanted.port
        if listener.real.port != wanted and (wanted, listener.real.port) not in self._listen_ports:
            why = "needs root" if wanted < _first_free_port() else "is taken"
            text = f"Port {wanted} {why} on this machine: the program listens on {real}; it still sees {wanted}."
            self._events.emit(Note(text, "info"))
        self._events.emit(PortSubscribed(number, self._mode, real, self._subscriptions.protocol))
        self._tasks.spawn(self._services.tell(number, self._subscriptions.protocol))

    async def _subscribed(self, number: int, port: _Port) -> Answer:
        """Return how the subscription of a port ends that is not had; all who want it at a time wait for one."""
        if port.subscribing is None:
            port.subscribing = self._tasks.spawn(self._subscribe(number, port))
        return await asyncio.shield(port.subscribing)

    async def _subscribe(self, number: int, port: _Port) -> Answer:
        """Subscribe; where the link is lost, `subscribe_again` will."""
        try:
            answer, stream = await self._subscriptions.open(number, is_again=number in self._had)
            if stream is not None:
                self._had.add(number)
                if self._ports.get(number) is port:
                    port.stream = stream
                    self._tasks.spawn(self._follow(stream, number, port))
                else:
                    stream.refuse()
            return answer
        finally:
            port.subscribing = None

    async def _follow(self, stream: Stream, number: int, port: _Port) -> None:
        if (reason := await self._subscriptions.follow(stream, number)) and port.stream is stream:
            self._subscriptions.note(number, f"The pod's {self.what} {number} is no longer this session's: {reason}.")

    def _drop_closed(self) -> None:
        there = self._there()
        self._locals = {port: listener for port, listener in self._locals.items() if listener.place in there}
        for number, port in list(self._ports.items()):
            port.listeners = [listener for listener in port.listeners if listener.place in there]
            if not port.listeners and port.subscribing is None:
                del self._ports[number]
                if port.stream is not None:
                    port.stream.refuse()

    def _connect(self, stream: Stream, request: agent.Incoming, listener: Listener, peer: Addr, local: Addr) -> None:
        """Deliver to `listener` what comes from `peer`, until it ends."""
        to = (listener.real.host, listener.real.port)
        try:
            sock, source, code = self._sources.connect(to, peer=peer, local=local)
        except OSError as error:
            self._deliveries.refuse(stream, request, error.errno or errno.EIO)
            return
        if code in (0, errno.EINPROGRESS) and is_established(sock):
            self._carry(stream, request, sock, source)
        elif code in (0, errno.EINPROGRESS):
            # Its queue is full, or it has just been closed.
            self._tasks.spawn(self._connect_in_time(stream, request, sock, source, to))
        else:
            self._refuse(stream, request, sock, source, code)

    async def _connect_in_time(
        self, stream: Stream, request: agent.Incoming, sock: socket.socket, source: int, to: tuple[str, int]
    ) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(sock, to)
        except BaseException as error:
            # TimeoutError is an OSError, without errno.
            code = (error.errno or errno.ETIMEDOUT) if isinstance(error, OSError) else errno.ECONNRESET
            self._refuse(stream, request, sock, source, code)
            if not isinstance(error, OSError):
                raise
        else:
            self._carry(stream, request, sock, source)

    def _carry(self, stream: Stream, request: agent.Incoming, sock: socket.socket, source: int) -> None:
        stream.accept()
        if request.mode == "mirror":
            Mirrored(stream, lambda: self._sources.ended(source)).begin(sock)
        else:
            self._relays.join(stream, sock, lambda: self._sources.ended(source))

    def _refuse(self, stream: Stream, request: agent.Incoming, sock: socket.socket, source: int, code: int) -> None:
        sock.close()
        self._sources.ended(source)
        self._deliveries.refuse(stream, request, code)
        self._drop_closed()


def _addr(address: agent.Address) -> Addr:
    return Addr.of(address.ip.partition("%")[0], address.port)


def _first_free_port() -> int:
    """Return the first port that needs no privilege (ip-sysctl: ip_unprivileged_port_start)."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    except (OSError, ValueError):
        return 1024
