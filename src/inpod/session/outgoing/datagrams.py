"""UDP sockets of the program: their datagrams leave from the pod.

A socket that the program connects gets a relay, a socket on loopback that both are connected to; one that it does not
connect gets such a relay for each address that it sends to, and the table tells whose datagrams come from it. A relay
is connected to the program's socket, so that nobody else can speak in its name.
The agent is asked with the first datagram: many programs connect a UDP socket only to learn an address.

    taking      datagrams of the program go to the agent, on a stream that is opened when there is none
    refusing    the agent told an error, or the link is lost: the relay is connected to itself, so the kernel answers
                the program's datagrams with ECONNREFUSED. After REFUSING_S: taking
    ended       the program's socket is gone, or connected to something else

A relay lives as long as the program's socket stays connected to it; that of an unconnected one, until the agent has
closed its end because nothing passed for long. No event tells the end of that: the kernel is asked
every LOOK_EVERY_S or LOOK_AFTER relays, and only while there are relays.
"""

import asyncio
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable

from inpod.protocol import agent
from inpod.protocol.layer import NOWHERE_ELSE, Addr, Connect, Redirect, encode_reply
from inpod.session.incoming.listeners import is_loopback
from inpod.session.kernel_sockets import Ends
from inpod.session.loopback import HOST6, loopback_of, plain
from inpod.session.names.here import LocalNames
from inpod.session.outgoing.datagram_relay import Endpoint, Relay
from inpod.session.outgoing.datagram_sockets import datagram_sockets
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

log = logging.getLogger(__name__)

DNS = 53
"""On loopback, the pod's name server; others there are this machine's."""

MAX_RELAYS = 2048

LOOK_EVERY_S = 1.0

LOOK_AFTER = 128
"""So many relays more, and the kernel is asked earlier: relays that end together would hold up everything else."""

LOOK_WHEN_FULL_S = 0.05
"""How often at most the kernel is asked because there are too many relays."""

IDLE_S = 10.0
"""How long a relay of an unconnected socket stays after the agent has closed its end."""

REFUSING_S = 5.0
"""Long enough that a program that tries again learns of the error, short enough that a server may come back."""


class Datagrams:
    """Answers CONNECT requests of UDP sockets and carries their datagrams."""

    def __init__(
        self,
        tunnel: Callable[[], Tunnel],
        table: Table,
        tasks: Tasks,
        answer_by: "AnswerBy",
        names: LocalNames | None = None,
    ) -> None:
        """Start without any.

        Args:
            names: Questions of DNS that stay here.
        """
        self._tunnel = tunnel
        self._names = names
        self._answer_by = answer_by
        self._table = table
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._readiness = Readiness()
        self._relays: dict[Key, Relay] = {}
        self._next_look: asyncio.TimerHandle | None = None
        self._last_look = 0.0
        self._made = 0
        """Relays since the last look."""

    def close(self) -> None:
        """End every relay; what the program sent is still delivered."""
        for key in list(self._relays):
            self._end(key)
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        self._readiness.close()

    def connect(self, request: Connect, program: socket.socket) -> bytes:
        """Return the reply; the program's socket remains the caller's to close."""
        if program.family not in (socket.AF_INET, socket.AF_INET6) or program.proto != socket.IPPROTO_UDP:
            # Ping sockets and others are none of ours.
            return encode_reply(0, NOWHERE_ELSE)
        key = _key(request)
        if request.is_send and (place := self._answer_by(program.getsockname()[1], request)) is not None:
            return encode_reply(0, Redirect(Addr.of(*place, request.to.family)))
        if request.is_send and is_loopback(request.to.ip) and request.to.port != DNS:
            return encode_reply(0, NOWHERE_ELSE)
        if request.is_send and (known := self._relays.get(key)) is not None:
            return encode_reply(0, Redirect(Addr.of(*known.own, request.to.family)))
        if not self._has_room():
            return encode_reply(errno.EAGAIN)
        try:
            sock, peer = _relay_socket(program, is_connected=not request.is_send)
        except OSError as error:
            return encode_reply(error.errno or errno.EADDRNOTAVAIL)
        self._end(key)
        relay = Relay(sock, peer, os.fstat(program.fileno()).st_ino, request, self._readiness, self)
        self._relays[key] = relay
        if request.is_send:
            self._table.set_udp_port(relay.own[1], peer=request.to, local=request.to)
        self._made += 1
        if self._made == LOOK_AFTER:
            self._loop.call_soon(self._look)
        if self._next_look is None:
            self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look_again)
        return encode_reply(0, Redirect(Addr.of(*relay.own, request.to.family)))

    # What the relays call: `Home`.

    def open(self, relay: Relay) -> Stream:
        """Return a stream to a socket of the pod, for a relay that has none."""
        to = relay.request.to
        stream = self._tunnel().open(agent.encode(agent.ConnectUdp(agent.Address(to.host, to.port))))
        self._tasks.spawn(self._until_refused(relay, stream))
        return stream

    def keeps(self, relay: Relay, datagram: bytes) -> bool:
        """Return whether a datagram is a question of DNS that this machine answers; then have it answered."""
        if self._names is None or relay.request.to.port != DNS or not self._names.is_here(datagram):
            return False
        self._tasks.spawn(self._answer(self._names, relay, datagram))
        return True

    async def _answer(self, names: LocalNames, relay: Relay, question: bytes) -> None:
        if answer := await names.answer(question):
            relay.give(answer)

    def gone(self, relay: Relay) -> None:
        """End a relay: nobody is at the program's end."""
        self._end(_key(relay.request))

    async def _until_refused(self, relay: Relay, stream: Stream) -> None:
        """Tell the program when the agent refused, or the link is lost."""
        try:
            # The stream's data goes to its sink: this returns at the end.
            await stream.read()
        except StreamRefused as refused:
            if relay.stream is stream:
                self._table.set_errno(relay.request.cookie, agent.errno_of(refused.payload, errno.ENETUNREACH))
                relay.refuse(self._loop.time() + REFUSING_S)
        finally:
            # Also when the session ends.
            stream.write_eof()

    # The end of the program's sockets.

    def _has_room(self) -> bool:
        if len(self._relays) >= MAX_RELAYS and self._loop.time() - self._last_look >= LOOK_WHEN_FULL_S:
            self._look()
        return len(self._relays) < MAX_RELAYS

    def _look_again(self) -> None:
        self._look()
        self._next_look = self._loop.call_later(LOOK_EVERY_S, self._look_again) if self._relays else None

    def _look(self) -> None:
        """End the relays whose program's socket is gone; let others take again."""
        now = self._last_look = self._loop.time()
        self._made = 0
        try:
            there = datagram_sockets()
        except OSError as error:
            log.debug("the kernel does not list its UDP sockets: %s", error)
            there = None
        for key, relay in list(self._relays.items()):
            if (there is not None and _is_over(relay, there)) or relay.is_idle(now - IDLE_S):
                self._end(key)
            elif relay.refusing_until is not None and now >= relay.refusing_until:
                self._table.set_errno(relay.request.cookie, 0)
                relay.take()

    def _end(self, key: "Key") -> None:
        relay = self._relays.pop(key, None)
        if relay is not None:
            relay.close()
            if relay.request.is_send:
                self._table.clear_udp_port(relay.own[1], relay.request.cookie)


AnswerBy = Callable[[int, Connect], Endpoint | None]
"""Returns where a socket of the program, known by its port, is to send to a peer that has sent to it before."""

Key = tuple[int, Addr | None]
"""A socket's cookie; and, of one that is not connected, whom it sends to."""


def _key(request: Connect) -> Key:
    return request.cookie, request.to if request.is_send else None


def _is_over(relay: Relay, there: dict[int, Ends]) -> bool:
    """Return whether the program's socket is gone, or connected to something else."""
    ends = there.get(relay.inode)
    return ends is None or (not relay.request.is_send and ends.peer != relay.place)


def _relay_socket(program: socket.socket, *, is_connected: bool) -> tuple[socket.socket, Endpoint]:
    """Return a socket on loopback, joined with the program's, and where that one is.

    The program's socket is connected, or else bound, here and not only by what the layer does next: so its address
    is known at once, and the descriptor need not be kept, which would keep the socket open after the program closed it.

    Raises:
        OSError: The program's socket cannot be connected to loopback.
    """
    host = loopback_of(program)
    sock = socket.socket(socket.AF_INET6 if host == HOST6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.bind((host, 0))
        port = sock.getsockname()[1]
        is_mapped = program.family == socket.AF_INET6 and host != HOST6
        if is_connected:
            program.connect((f"::ffff:{host}" if is_mapped else host, port))
        elif not program.getsockname()[1]:
            program.bind(("", 0))
        peer = plain(program.getsockname())
        if not is_connected and ipaddress.ip_address(peer[0]).is_unspecified:
            # What it sends to loopback comes from there.
            peer = host, peer[1]
        sock.connect(peer)
    except BaseException:
        sock.close()
        raise
    return sock, peer
