"""The pod's incoming datagrams, delivered to the program's UDP sockets.

Each peer has a socket of ours on loopback, its relay, as the peers that the program sends to have (`datagrams`): the table
tells the layer whose datagrams come from it, and what the program sends to the peer goes there.
"""

import asyncio
import errno
import socket

from inpod.protocol import agent
from inpod.protocol.layer import Addr, Connect
from inpod.session.incoming.connections import Incoming
from inpod.session.incoming.listeners import Listener
from inpod.session.kernel_sockets import Place
from inpod.session.outgoing.datagram_relay import Endpoint, Relay
from inpod.session.outgoing.datagram_sockets import datagram_sockets
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.streams import Stream, StreamRefused

Key = tuple[int, bytes, int]
"""Port of the program's socket on this machine; IP address and port of the peer."""


class IncomingUdp(Incoming):
    """As `Incoming`, for UDP; the `Home` of the relays."""

    what = "UDP port"

    def _prepare(self) -> None:
        self._readiness = Readiness()
        self._peers: dict[Key, Relay] = {}
        self._cookies: dict[Relay, set[int]] = {}
        self._bound: dict[int, Listener] = {}
        self._bound_before: dict[int, Listener] = {}

    def answer_by(self, program_port: int, request: Connect) -> Endpoint | None:
        """Return where the program's socket sends to a peer that it has heard from; None for another peer."""
        relay = self._peers.get((program_port, request.to.ip, request.to.port))
        if relay is None:
            return None
        self._cookies[relay].add(request.cookie)
        return relay.own

    def close(self) -> None:
        """End all subscriptions; what the program has answered is still delivered."""
        super().close()
        for relay in self._peers.values():
            relay.close()
        self._readiness.close()

    # What the relays call: `Home`.

    def open(self, relay: Relay) -> Stream | None:
        """Return no other stream: that of a peer is the agent's to open."""
        return None

    def keeps(self, relay: Relay, datagram: bytes) -> bool:
        """Nothing: what a program that serves the pod says is for its peers."""
        return False

    def gone(self, relay: Relay) -> None:
        """End a relay whose program is gone."""
        relay.forget_stream()

    def _announce(self, number: int, listener: Listener) -> None:
        """Tell of a port if it is still had after a while: resolvers take one of their own choice for each question."""
        if number not in self._announced:
            self._bound[number] = listener

    def _drop_closed(self) -> None:
        super()._drop_closed()
        for number, listener in self._bound_before.items():
            if (port := self._ports.get(number)) is not None and listener in port.listeners:
                super()._announce(number, listener)
        self._bound, self._bound_before = {}, self._bound

    def _there(self) -> set[Place]:
        try:
            return {ends.own for ends in datagram_sockets().values()}
        except OSError:
            return {listener.place for port in self._ports.values() for listener in port.listeners}

    def _connect(self, stream: Stream, request: agent.Incoming, listener: Listener, peer: Addr, local: Addr) -> None:
        self._tasks.spawn(self._exchange(stream, request, listener, peer, local))

    async def _exchange(
        self, stream: Stream, request: agent.Incoming, listener: Listener, peer: Addr, local: Addr
    ) -> None:
        host = listener.address_for(peer).host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = None
        try:
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.bind((host, 0))
            self._table.set_udp_port(sock.getsockname()[1], peer=peer, local=local)
            sock.connect((host, listener.real.port))
        except OSError as error:
            if sock is not None:
                sock.close()
            self._deliveries.refuse(stream, request, error.errno or errno.EIO)
            return
        program = (host, listener.real.port)
        relay = Relay(sock, program, 0, Connect(0, peer, is_send=True), self._readiness, self)
        key = (listener.real.port, peer.ip, peer.port)
        self._peers[key] = relay
        self._cookies[relay] = set()
        try:
            stream.accept()
            relay.join(stream)
            # What it says goes to the relay: this returns at the end.
            await stream.read()
        except (StreamRefused, asyncio.CancelledError):
            pass
        finally:
            if self._peers.get(key) is relay:
                del self._peers[key]
            relay.close()
            for cookie in self._cookies.pop(relay) or {0}:
                self._table.clear_udp_port(relay.own[1], cookie)
