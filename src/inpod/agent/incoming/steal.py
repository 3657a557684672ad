"""Steals ports for one session: has them itself, or has a share of what another agent has."""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Sequence

from inpod.agent.addresses import own_addresses
from inpod.agent.incoming import claims
from inpod.agent.incoming.flush import flush
from inpod.agent.incoming.heart import Heart
from inpod.agent.incoming.redirect.base import Redirect
from inpod.agent.incoming.redirect.choose import Force, choose
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.sharing import Guest, Host
from inpod.agent.incoming.stolen import StolenPort
from inpod.agent.incoming.subscriber import Subscriber
from inpod.protocol.agent import Refusal, Subscribe, encode
from inpod.tunnel.streams import Stream, Tunnel

AGAIN_TIMES = 20
AGAIN_EVERY_S = 0.05
"""A host that goes leaves its name free a moment later."""


class Steal:
    """All stolen ports of one session.

    Args:
        force: How they are stolen.
        addresses: The only ones whose ports are stolen; empty: all of this network namespace.
    """

    def __init__(self, tunnel: Tunnel, force: Force = "auto", addresses: Sequence[str] = ()) -> None:
        self._force = force
        self._addresses = addresses
        self._tunnel = tunnel
        self._redirect: Redirect | None = None
        self._heart = Heart(tunnel, self._beat, self._rest)
        self._ports: dict[int, _Port] = {}

    async def add(self, request: Subscribe, stream: Stream, report: Report, group: asyncio.TaskGroup) -> None:
        """Steal a port from here on, until `remove`; `group` runs the connections' tasks, which may go on after that.

        Raises:
            OSError: Not possible; `strerror` says why.
            ValueError: The filter is none.
        """
        subscriber = Subscriber(self._tunnel, request, report)
        called = next(iter(self._addresses or own_addresses()), "127.0.0.1")
        port = _Port(self._tunnel, request, subscriber, stream, group, self._ready_redirect, called)
        self._ports[request.port] = port
        try:
            await port.hold()
        except BaseException:
            self.remove(request.port)
            raise
        self._heart.start()
        port.look_after()

    def remove(self, port: int) -> None:
        """Give a port back. Connections that wait for us are reset; those of the program go on."""
        if (held := self._ports.pop(port, None)) is not None:
            held.let_go()
        if not self._ports:
            self.close()

    def close(self) -> None:
        """Give every port back."""
        self._heart.stop()
        for held in self._ports.values():
            held.let_go()
        self._ports.clear()
        if self._redirect is not None:
            self._redirect.close()
            self._redirect = None

    def _ready_redirect(self) -> Redirect:
        if self._redirect is None:
            self._redirect = choose(self._force, self._addresses or None)
        return self._redirect

    def _beat(self) -> None:
        for held in self._ports.values():
            held.hold_soon()
        if self._redirect is not None:
            self._redirect.beat()

    def _rest(self) -> None:
        # What is let go in a silence may be another's soon: it is asked for again when the session is heard.
        if self._redirect is not None:
            self._redirect.rest()
        for held in self._ports.values():
            held.let_go()


class _Port:
    """One port: had here (`_host`), shared (`_guest`), or neither for the moment."""

    def __init__(
        self,
        tunnel: Tunnel,
        request: Subscribe,
        subscriber: Subscriber,
        stream: Stream,
        group: asyncio.TaskGroup,
        redirect: Callable[[], Redirect],
        called: str,
    ) -> None:
        self._tunnel = tunnel
        self._request = request
        self._subscriber = subscriber
        self._stream = stream
        self._group = group
        self._redirect = redirect
        self._called = called
        self._stolen: StolenPort | None = None
        self._host: Host | None = None
        self._guest: Guest | None = None
        self._holding: asyncio.Task[None] | None = None
        self._was_held = False

    async def hold(self) -> None:
        """Have the port, or a share of it.

        Raises:
            OSError: Neither can be had; `strerror` says why.
        """
        for _ in range(AGAIN_TIMES):
            if (listener := claims.claim(self._request.port)) is not None:
                try:
                    self._stolen = StolenPort(self._request.port, self._redirect(), self._group)
                except BaseException:
                    listener.close()
                    raise
                self._stolen.add(self._subscriber)
                self._host = Host(listener, self._stolen, self._group, self._taken_over)
                self._was_held = True
                return
            if (sock := claims.reach(self._request.port)) is not None:
                guest = Guest(self._tunnel, self._stream, self._group)
                try:
                    await guest.join(sock, self._request)
                except OSError as error:
                    if error.errno != errno.ECONNRESET:
                        raise
                else:
                    self._guest = guest
                    self._was_held = True
                    return
            await asyncio.sleep(AGAIN_EVERY_S)
        raise OSError(errno.EADDRINUSE, f"another agent has port {self._request.port} of this pod and does not answer")

    def hold_soon(self) -> None:
        """Have it again, if it was let go or its host went."""
        is_left = self._guest is not None and self._guest.gone.done()
        if is_left:
            self._guest = None
        is_held = self._host is not None or self._guest is not None
        if self._was_held and not is_held and (self._holding is None or self._holding.done()):
            # Of the moment since a host left, nothing is worth a reset: only of a silence.
            self._holding = self._group.create_task(self._hold_again(flushes=not is_left))

    def look_after(self) -> None:
        """See, in the background, that connections really come, those of before included."""
        self._group.create_task(self._flush())
        self._group.create_task(self._test())

    def let_go(self) -> None:
        """Have it no more."""
        if self._holding is not None:
            self._holding.cancel()
        if self._stolen is not None:
            self._stolen.close()
            self._stolen = None
        if self._host is not None:
            self._host.close()
            self._host = None
        if self._guest is not None:
            self._guest.close()
            self._guest = None

    async def _hold_again(self, *, flushes: bool) -> None:
        # Who has it may not share it: then the next beat asks again.
        with contextlib.suppress(OSError):
            await self.hold()
            if flushes:
                await self._flush()

    async def _test(self) -> None:
        """Call the port as clients do, at the target's own address; tell when that does not come here."""
        if self._stolen is None:
            return
        ip = self._called
        if await self._stolen.misses(ip) and self._stolen is not None:
            self._subscriber.report.trouble(
                f"a connection to {ip}:{self._request.port} does not come to the agent: "
                "something else in the pod, a service mesh for instance, diverts it"
            )

    async def _flush(self) -> None:
        if self._stolen is None or not self._request.flush:
            return
        report = self._subscriber.report
        try:
            # In a thread: there may be thousands.
            report.moved(await asyncio.to_thread(flush, self._request.port))
        except OSError as error:
            # They go on where they are, which is no reason to fail.
            report.trouble(f"connections that were there before stay with the original: {error.strerror}")

    def _taken_over(self, who: str) -> None:
        """Give the port to a session that insists; ours hears of it."""
        self.let_go()
        reason = f"{who or 'another session'} took port {self._request.port} over"
        self._stream.refuse(encode(Refusal(errno.ECONNABORTED, reason)))
