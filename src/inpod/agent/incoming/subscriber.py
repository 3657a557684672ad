"""Who takes connections, single requests or datagrams of a port."""

import asyncio
import contextlib
import socket

from inpod.agent.incoming.http.choice import MAX_SHARED, Fate, Head, Taker
from inpod.agent.incoming.http.first import readable
from inpod.agent.incoming.http.rules import Rules
from inpod.agent.incoming.report import Report
from inpod.protocol.agent import PREFACE, Address, Incoming, Subscribe, encode
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

SILENT_AFTER_S = 1.5
"""Whoever takes connections pings every 0.5 s: two pings may be late."""

ANSWER_LIMIT_S = 15.0
"""How long a session may take to connect to the program; it gives up itself after 10 s."""

MAX_REQUEST_TEXT = 200
"""Characters of a request line that are repeated to people."""

PROBE_SPEAKS_WITHIN_S = 1.0
PEEK_BYTES = 4096

PROBE_AGENT = b"kube-probe/"
"""How the kubelet's requests begin to say who they are (Kubernetes, pkg/probe/http)."""


class Subscriber:
    """One session's wish for a port.

    Attributes:
        rules: Which requests it wants; None: whole connections.
        has_probes: The kubelet's own requests are the original's.
        who: For messages.
    """

    def __init__(self, tunnel: Tunnel, request: Subscribe, report: Report) -> None:
        """Take the wish of `request`.

        Raises:
            ValueError: Its filter is none.
        """
        self.rules = None if request.filter is None else Rules.parse(request.filter)
        self.port = request.port
        self._request = request
        self.has_probes = request.has_probes
        self.who = request.who
        self.report = report
        self._tunnel = tunnel
        self._clock = asyncio.get_running_loop().time

    def is_there(self) -> bool:
        """Return whether it was heard of lately."""
        silence = self._clock() - self._tunnel.last_heard
        return not self._tunnel.lost.done() and silence < SILENT_AFTER_S

    def offer(self, peer: Address, called: Address) -> Stream:
        """Open a stream for a connection, for its requests that are this session's, or for the datagrams of a peer."""
        request = self._request
        return self._tunnel.open(encode(Incoming(request.port, request.mode, peer, called, request.protocol)))


class Sharers:
    """Who has shares of a port.

    Attributes:
        now: The oldest first; another object when somebody came or went.
    """

    def __init__(self) -> None:
        self.now: tuple[Subscriber, ...] = ()

    def add(self, subscriber: Subscriber) -> None:
        """Let one have a share."""
        self.now = (*self.now, subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Let it have none any more."""
        self.now = tuple([other for other in self.now if other is not subscriber])


class Choice:
    """The filters of all sessions, for one connection: a `Chooser`. The session that came first decides first.

    Who comes later has his share of connections that are there, as clients keep them for long. Who wants whole connections
    gets them when they begin, or not at all.
    """

    __slots__ = ("_called", "_has_probes", "_known", "_last_choice", "_last_head", "_peer", "_sharers", "_takers")

    def __init__(self, sharers: Sharers, peer: Address, called: Address) -> None:
        self._sharers = sharers
        self._peer = peer
        self._called = called
        self._takers: tuple[_Taker, ...] = ()
        self._last_head: Head | None = None  # of a request without a body
        self._last_choice: _Taker | Fate = Fate.ORIGINAL
        self._renew()

    def choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        """See `Chooser`."""
        if self._sharers.now is not self._known:
            self._renew()
        if body == b"" and head is self._last_head:
            # Clients ask the same again and again, and heads that are alike are one object.
            choice = self._last_choice
        else:
            choice = self._decide(head, body)
            if choice is Fate.NEEDS_BODY:
                return choice
            if body == b"" and head.size <= MAX_SHARED:
                self._last_head, self._last_choice = head, choice
        by = choice.subscriber if isinstance(choice, _Taker) else None
        for taker in self._takers:
            if taker is choice:
                taker.subscriber.report.matched()
            else:
                taker.subscriber.report.passed(why, taker.subscriber, head, body, by)
        return choice

    def _renew(self) -> None:
        before = {taker.subscriber: taker for taker in self._takers}
        self._known = self._sharers.now
        there = [each for each in self._known if each.rules is not None or each.has_probes]
        self._takers = tuple([before.get(each) or _Taker(each, self._peer, self._called) for each in there])
        self._has_probes = any(each.has_probes for each in there)
        self._last_head = None

    def _decide(self, head: Head, body: bytes | None) -> "_Taker | Fate":
        is_probe = self._has_probes and is_from_kubelet(head)
        for taker in self._takers:
            subscriber = taker.subscriber
            if is_probe and subscriber.has_probes:
                continue
            matches = True if subscriber.rules is None else subscriber.rules.matches(head, body)
            if matches is None:
                return Fate.NEEDS_BODY
            if matches:
                return taker
        return Fate.ORIGINAL


class _Taker:
    """A subscriber, for one connection: a `Taker`."""

    __slots__ = ("_called", "_peer", "subscriber")

    def __init__(self, subscriber: Subscriber, peer: Address, called: Address) -> None:
        self.subscriber = subscriber
        self._peer = peer
        self._called = called

    def open(self) -> Stream:
        if not self.subscriber.is_there():
            raise StreamRefused(b"")
        return self.subscriber.offer(self._peer, self._called)


def is_from_kubelet(head: Head) -> bool:
    """Return whether a request is one of the kubelet's own."""
    return any(name.lower() == b"user-agent" and value.startswith(PROBE_AGENT) for name, value in head.headers)


async def begins_as_probe(sock: socket.socket) -> bool:
    """Return whether a connection may be the kubelet's, by its first bytes, which stay unread.

    The kubelet makes one for each probe, and sends its head at once. Who is silent for a while is not the kubelet. One of
    HTTP/2 may be a probe by gRPC, which only its requests can tell.
    """
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(PROBE_SPEAKS_WITHIN_S):
            await readable(sock)
        first = sock.recv(PEEK_BYTES, socket.MSG_PEEK)
        return first.startswith(PREFACE) or b"\nuser-agent: " + PROBE_AGENT in first.lower()
    return False


def why(subscriber: Subscriber, head: Head, body: bytes | None, taken_by: Subscriber | None) -> str:
    """Say why a request did not come to a session, in one line."""
    request = f"{head.method.decode('latin-1')} {head.target.decode('latin-1')}"[:MAX_REQUEST_TEXT]
    if taken_by is not None:
        return f"{request}: the filter of {taken_by.who or 'another session'} matched first"
    if subscriber.rules is None or (subscriber.has_probes and is_from_kubelet(head)):
        return f"{request}: a probe of the kubelet, which the original answers"
    return f"{request}: {subscriber.rules.explain(head, body)}"
