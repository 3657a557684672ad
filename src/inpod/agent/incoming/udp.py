"""Incoming UDP: the datagrams of each peer are a stream to the session, and in steal mode back.

Whoever asks for a port steals all of it: there are no requests to be told apart. Only by sk_lookup: nftables would
go on diverting a peer's datagrams for minutes after we have stalled or died, as connection tracking remembers them.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Collection, Sequence

from inpod.agent.incoming import claims
from inpod.agent.incoming.heart import Heart
from inpod.agent.incoming.redirect.sk_lookup import SkLookup
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.udp_sockets import Answers, Copies, Received, Stolen
from inpod.protocol.agent import Address, Incoming, Mode, Redirect, Subscribe, encode
from inpod.protocol.datagrams import DatagramDecoder, DatagramError
from inpod.protocol.datagrams import encode as framed
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.streams import Stream, Tunnel

MAX_PEERS = 4096
"""Peers of a port at a time; datagrams of further ones are dropped, and counted."""

IDLE_S = 60.0
"""A peer that was silent for so long, and to whom nothing was said, is forgotten."""

AT_ONCE = 64
"""Datagrams that are read of one socket before others have their turn."""


class Udp:
    """All UDP ports of one session.

    Args:
        redirect: What the session's ports are to be stolen by.
        addresses: The only ones whose datagrams are had; empty: all of this network namespace.
    """

    def __init__(self, tunnel: Tunnel, redirect: Redirect, addresses: Sequence[str] = ()) -> None:
        self._tunnel = tunnel
        self._addresses = frozenset(addresses)
        self._force = redirect
        self._redirect: SkLookup | None = None
        self._heart = Heart(tunnel, self._beat, self._rest)
        self._readiness = Readiness()
        self._ports: dict[int, _Port] = {}

    def add(self, request: Subscribe, report: Report) -> None:
        """Mirror or steal a port from here on, until `remove`.

        Raises:
            OSError: Not possible; `strerror` says why.
        """
        steals = request.mode == "steal"
        with contextlib.ExitStack() as undo:
            sources = self._stolen(request.port, undo) if steals else _copies(request.port, undo)
            answers = undo.enter_context(contextlib.closing(Answers())) if steals else None
            port = _Port(request.mode, request.port, self._tunnel, report, answers, self._addresses)
            for source in sources:
                self._readiness.add(source.sock, lambda source=source: port.readable(source))  # type: ignore[misc]
                undo.callback(self._readiness.remove, source.sock)
            undo.callback(port.close)
            port.undo = undo.pop_all()
        self._ports[request.port] = port
        if steals:
            self._heart.start()

    def remove(self, number: int) -> None:
        """Give a port back."""
        if (port := self._ports.pop(number, None)) is not None:
            port.undo.close()
        if self._redirect is not None and not any(port.mode == "steal" for port in self._ports.values()):
            self._heart.stop()
            self._redirect.close()
            self._redirect = None

    def close(self) -> None:
        """Give every port back."""
        for number in list(self._ports):
            self.remove(number)

    def _stolen(self, port: int, undo: contextlib.ExitStack) -> list[Stolen]:
        if self._force == "nftables":
            raise OSError(errno.EOPNOTSUPP, "UDP is stolen by BPF sk_lookup only, and agent.redirect forbids that")
        claim = claims.claim(port, "udp")
        if claim is None:
            raise OSError(errno.EADDRINUSE, f"another session steals UDP port {port} of this pod")
        undo.callback(claim.close)
        if self._redirect is None:
            self._redirect = SkLookup(self._addresses or None, socket.IPPROTO_UDP)
        redirect = self._redirect
        undo.callback(redirect.release, port)
        return [Stolen(sock, port) for sock in redirect.steal(port)]

    def _beat(self) -> None:
        if self._redirect is not None:
            self._redirect.beat()

    def _rest(self) -> None:
        if self._redirect is not None:
            self._redirect.rest()


class _Port:
    """One port and its peers."""

    def __init__(
        self,
        mode: Mode,
        number: int,
        tunnel: Tunnel,
        report: Report,
        answers: Answers | None,
        addresses: Collection[str],
    ) -> None:
        self.mode = mode
        self._addresses = addresses
        self.undo = contextlib.ExitStack()
        self.answers = answers
        self._number = number
        self._tunnel = tunnel
        self._report = report
        self._peers: dict[tuple[Address, Address], _Peer] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(IDLE_S / 4, self._look)

    def close(self) -> None:
        """End every peer's stream."""
        self._timer.cancel()
        for peer in list(self._peers.values()):
            peer.stream.write_eof()
        self._peers.clear()

    def readable(self, source: Copies | Stolen) -> None:
        """Pass on what there is."""
        for _ in range(AT_ONCE):
            try:
                received = source.receive()
            except OSError:
                return
            if received is None or (self._addresses and received.called.ip not in self._addresses):
                continue
            if not self._pass_on(received):
                self._report.dropped(1)

    def forget(self, peer: "_Peer") -> None:
        """Its stream has ended. Its next datagram opens another."""
        if self._peers.get(peer.key) is peer:
            del self._peers[peer.key]

    def _pass_on(self, received: Received) -> bool:
        key = (received.peer, received.called)
        peer = self._peers.get(key)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                return False
            incoming = Incoming(self._number, self.mode, received.peer, received.called, "udp")
            peer = self._peers[key] = _Peer(self, key, self._tunnel.open(encode(incoming)))
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

    def __init__(self, port: _Port, key: tuple[Address, Address], stream: Stream) -> None:
        self.key = key
        self.stream = stream
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._decoder = DatagramDecoder()
        self._is_full = False
        self.last = self._loop.time()
        stream.set_sink(self)

    def give(self, datagram: bytes) -> bool:
        """Pass a datagram on; return whether it had room."""
        self.last = self._loop.time()
        if not self._is_full:
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
