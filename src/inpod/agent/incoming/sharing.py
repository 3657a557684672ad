"""Several sessions on one port of a pod, each beside an agent of its own.

The agent that has the port is its host; the agents of other sessions are its guests. They speak as session and agent do:
the guest subscribes, the host opens a stream for each connection, and the guest hands that on to its session. When the
host goes, its guests find out at once, and one of them takes the port.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from inpod.agent.incoming.claims import Claim
from inpod.agent.incoming.proofs import Role, introduce
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.subscriber import ANSWER_LIMIT_S, Subscriber
from inpod.protocol.agent import (
    Incoming,
    PeerProtocolError,
    Refusal,
    Subscribe,
    decode_answer,
    decode_request,
    encode,
)
from inpod.tunnel.acceptor import Acceptor
from inpod.tunnel.pipe import pipe
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

JOIN_LIMIT_S = 5.0
"""How long a host may take to answer."""

SILENT_AFTER_S = 2.0
"""The host pings every 0.5 s, and when it is stopped it loses the port by then."""

MAX_GUESTS = 64


class Shared(Protocol):
    """A stolen port, of which sessions may have shares."""

    number: int

    def add(self, subscriber: Subscriber) -> None:
        """Let a session have a share.

        Raises:
            OSError: EADDRINUSE: it cannot be shared.
        """

    def remove(self, subscriber: Subscriber) -> None:
        """Give that session no more."""

    async def why_missed(self, ip: str) -> str:
        """Return why what calls it at `ip` does not come here; "" when it does."""

    def close(self) -> None:
        """Give the port back."""


def does_not_answer(port: int) -> OSError:
    """Return the error of a port whose host is silent."""
    return OSError(errno.EADDRINUSE, f"another session has port {port} of this pod, and its agent does not answer")


class Host:
    """Takes guests in for a port."""

    def __init__(
        self, claim: Claim, port: Shared, group: asyncio.TaskGroup, on_override: Callable[[str], None]
    ) -> None:
        """Begin to listen; owns `claim`.

        Args:
            on_override: Called when a guest takes the port for itself, with who that is: give it back.
        """
        self._claim = claim
        self._port = port
        self._group = group
        self._on_override = on_override
        self._guests: set[Tunnel] = set()
        self._is_open = True
        self._acceptor = Acceptor([claim.listener], self._let_in)

    def close(self) -> None:
        """Send the guests away, also those who are about to come in: the claim is free."""
        self._is_open = False
        self._acceptor.close()
        self._claim.close()
        for guest in list(self._guests):
            guest.close()

    def _let_in(self, sock: socket.socket, _: object) -> None:
        sock.setblocking(False)
        if len(self._guests) >= MAX_GUESTS:
            sock.close()
            return
        self._group.create_task(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        subscribers: list[Subscriber] = []
        guest = Tunnel(
            initiator=False, on_stream=lambda stream, head: self._on_stream(guest, subscribers, stream, head)
        )
        self._guests.add(guest)
        try:
            if not self._is_open:
                guest.close()
            if not await self._is_agent(sock):
                sock.close()
                return
            with contextlib.suppress(OSError, StreamRefused):  # gone before it came in
                await guest.attach(sock)
                await guest.lost
        finally:
            self._guests.discard(guest)
            guest.close()
            for subscriber in subscribers:
                self._port.remove(subscriber)
                subscriber.report.close()

    async def _is_agent(self, sock: socket.socket) -> bool:
        with contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(JOIN_LIMIT_S):
                return await self._claim.prover.admit(sock)
        return False

    def _on_stream(self, guest: Tunnel, subscribers: list[Subscriber], stream: Stream, head: bytes) -> None:
        try:
            request = decode_request(head)
            if not isinstance(request, Subscribe) or request.port != self._port.number:
                raise PeerProtocolError("a guest subscribes to the port it came for")
            subscriber = Subscriber(guest, request, Report(stream))
        except (PeerProtocolError, ValueError) as error:
            stream.refuse(encode(Refusal(errno.EPROTO, str(error))))
            return
        try:
            self._port.add(subscriber)
        except OSError as error:
            if request.on_conflict == "override":
                # The guest learns it from the end of this link, and takes the port.
                self._on_override(request.who)
                return
            stream.refuse(encode(Refusal(error.errno or errno.EIO, str(error.strerror))))
            return
        subscribers.append(subscriber)
        stream.accept()


class Guest:
    """A share of a port that another agent has.

    Attributes:
        gone: Done once the host is gone.
    """

    def __init__(self, session: Tunnel, own: Stream, group: asyncio.TaskGroup) -> None:
        """Prepare; see `join`.

        Args:
            own: The session's subscription, where the host's reports go.
        """
        self._session = session
        self._own = own
        self._group = group
        self._host = Tunnel(initiator=True, on_stream=self._on_stream)
        self.gone = self._host.lost

    async def join(self, sock: socket.socket, request: Subscribe, role: Role) -> None:
        """Ask the agent at the other end of `sock`, which has that role, for a share.

        Raises:
            OSError: It refused, with the reason, is silent or no agent; ECONNRESET when it went away.
        """
        try:
            async with asyncio.timeout(JOIN_LIMIT_S):
                await self._prove(sock, request, role)
                await self._host.attach(sock)
                subscription = self._host.open(encode(request))
                await subscription.accepted()
        except StreamRefused as refused:
            self.close()
            with contextlib.suppress(PeerProtocolError):
                if refused.payload:
                    refusal = decode_answer(Refusal, refused.payload)
                    raise OSError(refusal.code, refusal.reason) from None
            raise OSError(errno.ECONNRESET, "the agent that has the port went away") from None
        except TimeoutError:
            self.close()
            raise does_not_answer(request.port) from None
        except BaseException:
            self.close()
            raise
        self._group.create_task(self._pass_reports(subscription))

    async def _prove(self, sock: socket.socket, request: Subscribe, role: Role) -> None:
        try:
            await introduce(sock, request.port, request.protocol, role)
        except BaseException:
            sock.close()
            raise

    def hears(self) -> bool:
        """Return whether the host was heard of lately."""
        return asyncio.get_running_loop().time() - self._host.last_heard < SILENT_AFTER_S

    def close(self) -> None:
        """Leave the host."""
        self._host.close()

    async def _pass_reports(self, subscription: Stream) -> None:
        with contextlib.suppress(StreamRefused):
            while report := await subscription.read():
                self._own.send(report)

    def _on_stream(self, stream: Stream, head: bytes) -> None:
        with contextlib.suppress(PeerProtocolError):
            if isinstance(decode_request(head), Incoming):
                self._group.create_task(self._hand_on(stream, head))
                return
        stream.refuse()

    async def _hand_on(self, stream: Stream, head: bytes) -> None:
        onward = self._session.open(head)
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                answer = await onward.accepted()
            stream.accept(answer)
        except StreamRefused as refused:
            stream.refuse(refused.payload)
            return
        except TimeoutError:
            stream.refuse()
            onward.refuse()
            return
        await pipe(stream, onward)
