"""Mirrors ports: packets from the capture, through the reassembler, each connection as a stream to the session."""

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from inpod.agent.addresses import OwnAddresses, own_addresses
from inpod.agent.incoming.mirror.capture import Capture, explain
from inpod.agent.incoming.mirror.copy import Copy, Room
from inpod.agent.incoming.mirror.diverted import Diverted
from inpod.agent.incoming.mirror.filter import MAX_PORTS
from inpod.agent.incoming.mirror.filtered import FilteredCopy
from inpod.agent.incoming.mirror.packets import Segment, endpoints
from inpod.agent.incoming.mirror.probe import Probes
from inpod.agent.incoming.mirror.reassembly import Event, Kind, Reassembler, begins_request
from inpod.agent.incoming.mirror.sockets import speaking
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.subscriber import Subscriber
from inpod.protocol.agent import PREFACE, Incoming, Subscribe, encode
from inpod.tunnel.streams import Tunnel

TICK_S = 1.0
"""How often gaps and idle connections are looked for, and drops counted."""

CHECK_EVERY_S = 5.0
"""How often the kernel is asked for the connections behind silent flows."""

TURN_S = 0.01
"""How long packets are worked on before the loop's other work has its turn, about."""

FLUSH_AFTER_S = 0.25
"""Longest that copies wait while more packets queue up than are worked on."""

MOST_JOINED = 16 * 1024
"""Bytes of a connection that are sent on as one: each piece costs the session a frame, and a call to pass it on."""

MAX_COPIES = 4096
"""Mirrored connections at a time, with those of which the program has not read all; further ones count as dropped."""

_DATA = Kind.DATA
"""For what runs with each packet: Python 3.11 takes long to find a member in its class."""


class MirroredPort:
    """A port, and who wants its connections.

    Args:
        group: Runs the connections' tasks; cancelled by its owner once the port is removed.
    """

    def __init__(self, subscriber: Subscriber, group: asyncio.TaskGroup) -> None:
        self.port = subscriber.port
        self.subscriber = subscriber
        self.group = group
        self.on_dropped = subscriber.report.dropped


class Mirror:
    """All mirrored ports of one session.

    Args:
        addresses: The only ones whose connections are mirrored; empty: all of this network namespace.
    """

    def __init__(self, tunnel: Tunnel, addresses: Collection[str] = ()) -> None:
        self._tunnel = tunnel
        self._loop = asyncio.get_running_loop()
        self._ports: dict[int, MirroredPort] = {}
        self._capture: Capture | None = None
        self._reassembler = Reassembler()
        self._copies: dict[bytes, tuple[MirroredPort, Copy | FilteredCopy]] = {}
        self._running = 0
        self._touched: dict[Copy | FilteredCopy, None] = {}
        self._flushed = self._checked = 0.0
        self._room = Room()
        self._own = OwnAddresses(addresses)
        self._diverted = Diverted()
        self._probes = Probes("tcp")
        self._called = next(iter(addresses or own_addresses()), "127.0.0.1")
        self._tick: asyncio.TimerHandle | None = None

    def add(self, request: Subscribe, report: Report, group: asyncio.TaskGroup) -> None:
        """Mirror a port from here on; `group` runs the connections' tasks.

        Raises:
            OSError: Not possible; `strerror` says why.
            ValueError: The filter is none.
        """
        port = MirroredPort(Subscriber(self._tunnel, request, report), group)
        if len(self._ports) >= MAX_PORTS:
            raise OSError(None, f"{MAX_PORTS} ports are mirrored already")
        wanted = {*self._ports, port.port}
        if self._capture is None:
            try:
                self._capture = Capture(wanted)
            except OSError as error:
                raise OSError(error.errno, explain(error)) from error
            self._loop.add_reader(self._capture.fileno(), self._on_packets)
            self._tick = self._loop.call_later(TICK_S, self._on_tick)
        else:
            self._capture.set_ports(wanted)
        self._ports[port.port] = port
        with contextlib.suppress(OSError):  # a kernel without sock_diag
            now = self._loop.time()
            report.stayed(sum(self._own.has(endpoints(flow)[1].ip, now) for flow in speaking([port.port])))
        group.create_task(self._test(port))

    def remove(self, port: int) -> None:
        """Mirror a port no more; its connections are reset."""
        self._ports.pop(port, None)
        for flow in self._reassembler.flows():
            if endpoints(flow)[1].port == port:
                self._reassembler.forget(flow)
        for flow, (owner, copy) in list(self._copies.items()):
            if owner.port == port:
                copy.cut()
                self._copies.pop(flow, None)
        if not self._ports:
            self.close()
        elif self._capture is not None:
            self._capture.set_ports(self._ports)

    def close(self) -> None:
        """Mirror nothing any more."""
        self._ports.clear()
        if self._tick is not None:
            self._tick.cancel()
        if self._capture is not None:
            self._loop.remove_reader(self._capture.fileno())
            self._capture.close()
            self._capture = None
        for _, copy in list(self._copies.values()):
            copy.cut()
        self._copies.clear()
        self._diverted.close()
        self._reassembler = Reassembler()

    async def _test(self, port: MirroredPort) -> None:
        """See that packets to the port are captured; tell when they are not."""
        if await self._probes.miss(self._called, port.port) and self._ports.get(port.port) is port:
            port.subscriber.report.trouble(f"packets to {self._called}:{port.port} are not seen")

    def _on_packets(self) -> None:
        # What is not taken soon is lost, while what was taken can wait: so nothing is sent while packets queue up.
        clock = self._loop.time
        now = clock()
        until = now + TURN_S
        segments: list[Segment] = []
        while self._capture is not None and now < until and (segments := self._capture.read()):
            self._probes.look(segments)
            for event in self._reassembler.feed(segments, now):
                self._handle(event)
            now = clock()
        if not segments or now - self._flushed > FLUSH_AFTER_S:
            self._flush(now)
        else:
            # The socket may stay silent from here on, so it is not left to it to call again.
            self._loop.call_soon(self._on_packets)

    def _flush(self, now: float) -> None:
        self._flushed = now
        touched, self._touched = self._touched, {}
        for copy in touched:
            copy.flush()

    def _on_tick(self) -> None:
        self._tick = self._loop.call_later(TICK_S, self._on_tick)
        if self._capture is not None and (dropped := self._capture.dropped()):
            self._reassembler.doubt()
            # The kernel does not say whose they were.
            for port in self._ports.values():
                port.on_dropped(dropped)
        now = self._loop.time()
        for event in self._reassembler.expire(now):
            self._handle(event)
        if now - self._checked > CHECK_EVERY_S and self._reassembler.has_silent(now):
            self._checked = now
            with contextlib.suppress(OSError):  # a kernel without sock_diag: then the time decides
                for event in self._reassembler.check(speaking(self._ports), now):
                    self._handle(event)
        self._flush(now)

    def _handle(self, event: Event) -> None:
        kind, flow, pieces, lost = event
        if kind is _DATA:
            self._copy(flow, pieces)
        elif kind is Kind.OPENED:
            self._open(flow)
        elif kind is Kind.REFUSED:
            if (port := self._ports.get(endpoints(flow)[1].port)) is not None:
                port.on_dropped(lost)
        elif (found := self._copies.pop(flow, None)) is not None:
            port, copy = found
            self._touched[copy] = None
            if kind is Kind.ENDED:
                copy.finish()
            elif kind is Kind.RESET:
                copy.abort()
            else:
                copy.cut()
                port.on_dropped(lost)

    def _copy(self, flow: bytes, pieces: Sequence[bytes]) -> None:
        found = self._copies.get(flow)
        if found is None or found[1].is_answered or found[1].is_over:
            # A program that closed its end is offered the connection again with the next request on it.
            begin = next((at for at, piece in enumerate(pieces) if begins_request(piece)), None)
            if begin is not None:
                if found is not None:
                    self._write(found, pieces[:begin])
                    found[1].finish()
                    self._touched[found[1]] = None
                found, pieces = self._open(flow), pieces[begin:]
        if found is not None:
            if isinstance(found[1], Copy) and not found[1].has_begun and b"".join(pieces).startswith(PREFACE):
                found = self._by_request(flow, found[0], found[1])
            self._write(found, pieces)

    def _write(self, found: tuple[MirroredPort, Copy | FilteredCopy], pieces: Sequence[bytes]) -> None:
        port, copy = found
        if len(pieces) > 1 and sum(map(len, pieces)) <= MOST_JOINED:
            pieces = [b"".join(pieces)]
        for data in pieces:
            if copy.is_over:
                return
            if lost := copy.write(data):
                port.on_dropped(lost)
        self._touched[copy] = None

    def _open(self, flow: bytes) -> tuple[MirroredPort, Copy | FilteredCopy] | None:
        """Offer a connection to the session."""
        self._copies.pop(flow, None)
        peer, address = endpoints(flow)
        port = self._ports.get(address.port)
        now = self._loop.time()
        if port is None or not self._own.has(address.ip, now) or self._diverted.is_elsewhere(peer, address, now):
            self._reassembler.forget(flow)
            return None
        if self._running >= MAX_COPIES:
            port.on_dropped(1)
            return None
        copy: Copy | FilteredCopy
        if port.subscriber.rules is None:
            copy = self._offer(port, flow)
        else:
            copy = FilteredCopy(port.subscriber, lambda: self._offer(port, flow), self._room)
        self._copies[flow] = port, copy
        return port, copy

    def _by_request(self, flow: bytes, port: MirroredPort, first: Copy) -> tuple[MirroredPort, FilteredCopy]:
        """Copy a connection of HTTP/2 request by request; `first` was offered for it, and got nothing yet."""
        is_done = first.is_over or first.is_answered
        if is_done:
            first.finish()
            first.flush()
        unused = [] if is_done else [first]

        def open_copy() -> Copy:
            return unused.pop() if unused else self._offer(port, flow)

        found = self._copies[flow] = port, FilteredCopy(port.subscriber, open_copy, self._room)
        return found

    def _offer(self, port: MirroredPort, flow: bytes) -> Copy:
        peer, address = endpoints(flow)
        copy = Copy(self._tunnel.open(encode(Incoming(port.port, "mirror", peer, address))), self._room)
        self._running += 1
        port.group.create_task(copy.run()).add_done_callback(lambda _: self._on_gone(flow, copy))
        return copy

    def _on_gone(self, flow: bytes, copy: Copy) -> None:
        self._running -= 1
        found = self._copies.get(flow)
        if found is not None and found[1] is copy:
            del self._copies[flow]
