"""Incoming UDP: the datagrams of each peer are a stream to the session, and in steal mode back.

Whoever asks for a port steals all of it: there are no requests to be told apart. Only by sk_lookup: nftables would
go on diverting a peer's datagrams for minutes after we have stalled or died, as connection tracking remembers them.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Collection, Sequence

from inpod.agent.addresses import own_addresses
from inpod.agent.incoming.mirror.probe import Probes
from inpod.agent.incoming.redirect.base import Redirect
from inpod.agent.incoming.redirect.connections import datagram_taker
from inpod.agent.incoming.redirect.sk_lookup import SkLookup
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.steal import Steal
from inpod.agent.incoming.subscriber import Subscriber
from inpod.agent.incoming.udp_sockets import Answers, Copies, Received, Stolen
from inpod.protocol.agent import Address, Subscribe
from inpod.protocol.datagrams import MAX_DATAGRAM, DatagramDecoder, DatagramError
from inpod.protocol.datagrams import encode as framed
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.streams import Stream, Tunnel

MAX_PEERS = 4096
"""Peers of a port at a time; datagrams of further ones are dropped, and counted."""

IDLE_S = 60.0
"""A peer that was silent for so long, and to whom nothing was said, is forgotten."""

LOOK_EVERY_S = 0.25
LOOKS = 8
"""How often the kernel is asked who gets a stolen port's datagrams, before somebody else does."""

AT_ONCE = 64
"""Datagrams that are read of one socket before others have their turn."""


class MirrorUdp:
    """All mirrored UDP ports of one session.

    Args:
        addresses: The only ones whose datagrams are had; empty: all of this network namespace.
    """

    def __init__(self, tunnel: Tunnel, addresses: Sequence[str] = ()) -> None:
        self._tunnel = tunnel
        self._addresses = addresses
        self._ports: dict[int, UdpPort] = {}
        self._probes = Probes("udp")

    def add(self, request: Subscribe, report: Report, group: asyncio.TaskGroup) -> None:
        """Mirror a port from here on, until `remove`; `group` runs what looks after it.

        Raises:
            OSError: Not possible; `strerror` says why.
        """
        with contextlib.ExitStack() as undo:
            sources = _copies(request.port, undo)
            for source in sources:
                source.on_probe = self._probes.see
            port = UdpPort(request.port, sources, None, self._addresses, undo.pop_all())
        port.add(Subscriber(self._tunnel, request, report))
        self._ports[request.port] = port
        group.create_task(self._test(port, report))

    def remove(self, number: int) -> None:
        """Mirror a port no more."""
        if (port := self._ports.pop(number, None)) is not None:
            port.close()

    def close(self) -> None:
        """Mirror nothing any more."""
        for number in list(self._ports):
            self.remove(number)

    async def _test(self, port: "UdpPort", report: Report) -> None:
        """See that datagrams to the port are copied; tell when they are not."""
        ip = next(iter(self._addresses or own_addresses()), "127.0.0.1")
        if await self._probes.miss(ip, port.number) and self._ports.get(port.number) is port:
            report.trouble(f"datagrams to {ip}:{port.number} are not seen")


class StealUdp(Steal["UdpPort"]):
    """All stolen UDP ports of one session."""

    call = "a datagram"

    def _choose(self) -> SkLookup:
        if self._force == "nftables":
            raise OSError(errno.EOPNOTSUPP, "UDP is stolen by BPF sk_lookup only, and agent.redirect forbids that")
        return SkLookup(self._addresses or None, socket.IPPROTO_UDP)

    def _take(self, port: int, redirect: Redirect, group: asyncio.TaskGroup) -> "UdpPort":
        with contextlib.ExitStack() as undo:
            answers = undo.enter_context(contextlib.closing(Answers()))
            undo.callback(redirect.release, port)
            sources = [Stolen(sock, port) for sock in redirect.steal(port)]
            return UdpPort(port, sources, answers, self._addresses, undo.pop_all())


class UdpPort:
    """One port and its peers: a `Shared` that nobody shares."""

    def __init__(
        self,
        number: int,
        sources: Sequence[Copies | Stolen],
        answers: Answers | None,
        addresses: Collection[str],
        undo: contextlib.ExitStack,
    ) -> None:
        """Have the datagrams of `sources` from here on.

        Args:
            answers: How the program's are sent; None: not at all.
            undo: Gives back what the two need.
        """
        self.number = number
        self.answers = answers
        self._addresses = frozenset(addresses)
        self._subscriber: Subscriber | None = None
        self._peers: dict[tuple[Address, Address], _Peer] = {}
        self._inodes = {os.fstat(source.sock.fileno()).st_ino for source in sources}
        self._loop = asyncio.get_running_loop()
        with undo:
            readiness = Readiness()
            undo.callback(readiness.close)
            for source in sources:
                readiness.add(source.sock, lambda source=source: self._readable(source))  # type: ignore[misc]
            self._undo = undo.pop_all()
        self._timer = self._loop.call_later(IDLE_S / 4, self._look)

    def add(self, subscriber: Subscriber) -> None:
        """See `Shared`."""
        if (other := self._subscriber) is not None:
            who = other.who or "another session"
            raise OSError(errno.EADDRINUSE, f"{who} steals UDP port {self.number} of this pod")
        self._subscriber = subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """See `Shared`."""
        if self._subscriber is subscriber:
            self._subscriber = None

    async def why_missed(self, ip: str) -> str:
        """See `Shared`. No datagram is sent: where it did not come here, the original would take it for a request."""
        for _ in range(LOOKS):
            try:
                if datagram_taker(ip, self.number) in self._inodes:
                    return ""
            except OSError:
                return ""  # the kernel does not tell
            await asyncio.sleep(LOOK_EVERY_S)
        return "something else in the pod diverts it"

    def close(self) -> None:
        """Give the port back, and end every peer's stream."""
        self._timer.cancel()
        self._undo.close()
        for peer in list(self._peers.values()):
            peer.stream.write_eof()
        self._peers.clear()

    def _readable(self, source: Copies | Stolen) -> None:
        """Pass on what there is."""
        for _ in range(AT_ONCE):
            try:
                received = source.receive()
            except OSError:
                return
            subscriber = self._subscriber
            if received is None or (self._addresses and received.called.ip not in self._addresses):
                continue
            if subscriber is not None and not self._pass_on(received, subscriber):
                subscriber.report.dropped(1)

    def forget(self, peer: "_Peer") -> None:
        """Its stream has ended. Its next datagram opens another."""
        if self._peers.get(peer.key) is peer:
            del self._peers[peer.key]

    def _pass_on(self, received: Received, subscriber: Subscriber) -> bool:
        key = (received.peer, received.called)
        peer = self._peers.get(key)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                return False
            peer = self._peers[key] = _Peer(self, key, subscriber.offer(*key))
            # Only now, as its stream may have ended already.
            peer.stream.set_sink(peer)
        return peer.give(received.data)

    def _look(self) -> None:
        before = self._loop.time() - IDLE_S
        for peer in list(self._peers.values()):
            if peer.last < before:
                peer.stream.write_eof()
                self.forget(peer)
        self._timer = self._loop.call_later(IDLE_S / 4, self._look)


class _Peer:
    """The datagrams of one peer to one address; the `Sink` of their stream.

    Attributes:
        last: Loop time of the last one, either way.
    """

    def __init__(self, port: UdpPort, key: tuple[Address, Address], stream: Stream) -> None:
        self.key = key
        self.stream = stream
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._decoder = DatagramDecoder()
        self._is_full = False
        self.last = self._loop.time()

    def give(self, datagram: bytes) -> bool:
        """Pass a datagram on; return whether it had room."""
        self.last = self._loop.time()
        if not self._is_full and not self.stream.closed and len(datagram) <= MAX_DATAGRAM:
            self._is_full = not self.stream.send(framed(datagram))
            return True
        return False

    def data(self, data: bytes) -> None:
        self.stream.passed_on(len(data))
        self.last = self._loop.time()
        try:
            datagrams = self._decoder.feed(data)
        except DatagramError:
            self.stream.refuse()
            return
        peer, called = self.key
        for datagram in datagrams:
            if self._port.answers is not None:
                with contextlib.suppress(OSError):  # as of an application's: lost on the way
                    self._port.answers.send(datagram, called, peer)

    def eof(self) -> None:
        self.stream.write_eof()
        self._port.forget(self)

    def reset(self) -> None:
        self._port.forget(self)

    def writable(self) -> None:
        self._is_full = False


def _copies(port: int, undo: contextlib.ExitStack) -> list[Copies]:
    found: list[Copies] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            copies = Copies(family, port)
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                raise OSError(error.errno, f"mirroring UDP needs a raw socket: {error.strerror}") from error
            continue
        undo.callback(copies.sock.close)
        found.append(copies)
    return found
