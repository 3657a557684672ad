"""One stolen port: accepts what the redirect diverts, and gives each connection, or each request, to whom it is for."""

import asyncio
import contextlib
import errno
import os
import socket
import sys
import traceback

from inpod.agent.incoming.redirect.base import Redirect
from inpod.agent.incoming.redirect.original import connect_original
from inpod.agent.incoming.subscriber import ANSWER_LIMIT_S, Choice, Sharers, Subscriber, begins_as_probe
from inpod.protocol.agent import Address
from inpod.tunnel.acceptor import Acceptor
from inpod.tunnel.relay import join
from inpod.tunnel.streams import StreamRefused
from inpod.tunnel.transport import RESET_ON_CLOSE

MAX_CONNECTIONS = 16000
"""Stolen connections of a port at a time; further ones wait in the listeners' queues."""

ARRIVES_WITHIN_S = 2.0

ACCEPTED_AT_A_TIME = 64

_RawAddress = tuple[str, int] | tuple[str, int, int, int]
"""As accept(2) tells it."""


class StolenPort:
    """A port that this agent has, for one session or several.

    Args:
        group: Runs the connections' tasks, which go on when the port is given back.
    """

    def __init__(self, number: int, redirect: Redirect, group: asyncio.TaskGroup) -> None:
        """Take the port.

        Raises:
            OSError: Not possible; `strerror` says why.
        """
        self.number = number
        self._redirect = redirect
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._sharers = Sharers()
        self._own: dict[Address, asyncio.Event] = {}
        self._count = 0
        self._acceptor = Acceptor(redirect.steal(number), self._take, at_a_time=ACCEPTED_AT_A_TIME)

    def add(self, subscriber: Subscriber) -> None:
        """Let a session have a share.

        Raises:
            OSError: EADDRINUSE: one of the two wants all.
        """
        for other in self._sharers.now:
            if other.rules is None or subscriber.rules is None:
                how = "steals" if other.rules is None else "steals requests of"
                raise OSError(
                    errno.EADDRINUSE, f"{other.who or 'another session'} {how} port {self.number} of this pod"
                )
        self._sharers.add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Give that session no more."""
        self._sharers.remove(subscriber)

    async def why_missed(self, ip: str) -> str:
        """Return why a connection to the port at `ip`, an address of the target, does not come here; "" when it does.

        We make one ourselves, know it by its address, and end it; if something else diverts it, that sees it end at once.
        """
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        arrived = asyncio.Event()
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            return os.strerror(error.errno or errno.EIO)
        with sock:
            if (code := sock.connect_ex((ip, self.number))) not in (0, errno.EINPROGRESS):
                return f"{os.strerror(code)}; nor can others in this network make one"
            own = _address(sock.getsockname())
            self._own[own] = arrived
            try:
                async with asyncio.timeout(ARRIVES_WITHIN_S):
                    await arrived.wait()
            except TimeoutError:
                return self._acceptor.why_not or "something else in the pod, a service mesh for instance, diverts it"
            finally:
                del self._own[own]
        return ""

    def close(self) -> None:
        """Give the port back. Who waits for us gets the original; connections of the programs go on."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._redirect.release, self.number)
            undo.callback(self._acceptor.close)
            self._redirect.pause(self.number)
            # Connections that are there keep the others.
            self._sharers = Sharers()
            self._acceptor.take_waiting()

    def _take(self, sock: socket.socket, peer: _RawAddress) -> None:
        self._count += 1
        if self._count >= MAX_CONNECTIONS:
            self._acceptor.pause()
        try:
            self._serve(sock, _address(peer))
        except Exception as error:
            self._failed(sock, error)

    def _failed(self, sock: socket.socket, error: Exception) -> None:
        """End one connection for a fault of ours, not the port."""
        traceback.print_exception(error, file=sys.stderr)
        _reset(sock)
        self._gone()

    def _gone(self) -> None:
        self._count -= 1
        if self._count == MAX_CONNECTIONS - 1:
            self._acceptor.resume()

    def _serve(self, sock: socket.socket, peer: Address) -> None:
        """Give a connection to whom it is for. Whole ones need no task: there may be thousands in a second."""
        try:
            called = self._redirect.called(sock)
        except OSError:
            called = None  # the client is gone already
        arrived = self._own.get(peer)
        if arrived is not None and called is not None:
            arrived.set()
        # It may have called the listener's own address, which is nobody's business.
        if called is None or called.port != self.number or arrived is not None:
            sock.close()
            self._gone()
            return
        sock.setblocking(False)
        # Who wants all has no others beside it.
        wants_all = next((each for each in self._sharers.now if each.rules is None and each.is_there()), None)
        if wants_all is not None and not wants_all.has_probes:
            self._deliver(sock, wants_all, peer, called)
        else:
            self._group.create_task(self._look_inside(sock, wants_all, peer, called))

    async def _look_inside(
        self, sock: socket.socket, wants_all: Subscriber | None, peer: Address, called: Address
    ) -> None:
        """Serve a connection of which some requests may be the original's."""
        try:
            if wants_all is not None and not await begins_as_probe(sock):
                self._deliver(sock, wants_all, peer, called)
                return
            await self._serve_requests(sock, peer, called)
        except Exception as error:
            self._failed(sock, error)
        else:
            self._gone()

    async def _serve_requests(self, sock: socket.socket, peer: Address, called: Address) -> None:
        def whole(reason: str) -> None:
            for subscriber in self._sharers.now:
                subscriber.report.whole(f"a connection of {peer.ip} went to the original whole: {reason}")

        # Loaded for the first connection whose requests are told apart: most sessions have none.
        from inpod.agent.incoming.http.h2 import serve_both

        choice = Choice(self._sharers, peer, called)
        await serve_both(sock, choice, lambda: connect_original(self._redirect, called), whole)

    def _deliver(self, sock: socket.socket, to: Subscriber, peer: Address, called: Address) -> None:
        """Offer a connection to a session; pass its bytes on until both directions ended, or reset it.

        Nothing is passed on before the session has it: it may not hear us just now, and its program would get the request
        of a client that was reset long ago.
        """
        stream = to.offer(peer, called)
        limit = self._loop.call_later(ANSWER_LIMIT_S, stream.refuse)

        def decided() -> None:
            limit.cancel()
            try:
                stream.answer()
            except StreamRefused:
                _reset(sock)
                self._gone()
            else:
                join(stream, sock, self._gone)

        stream.when_decided(decided)


def _address(raw: _RawAddress) -> Address:
    # Link-local addresses come with the device's name.
    return Address(raw[0].partition("%")[0], raw[1])


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()
