"""Steals ports for one session: has them itself, or has a share of what another agent has."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic

from inpod.agent.addresses import own_addresses
from inpod.agent.incoming.flush import flush, originals
from inpod.agent.incoming.heart import Heart
from inpod.agent.incoming.hold import Hold, P
from inpod.agent.incoming.redirect.base import Redirect
from inpod.agent.incoming.redirect.choose import Force, choose
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.stolen import StolenPort
from inpod.agent.incoming.subscriber import Subscriber
from inpod.protocol.agent import Subscribe
from inpod.tunnel.streams import Stream, Tunnel


class Steal(ABC, Generic[P]):
    """All stolen ports of one session and one protocol.

    Args:
        force: How they are stolen.
        addresses: The only ones whose ports are stolen; empty: all of this network namespace.

    Attributes:
        call: What comes to a port, for people.
    """

    call = "a connection"

    def __init__(self, tunnel: Tunnel, force: Force = "auto", addresses: Sequence[str] = ()) -> None:
        self._force = force
        self._addresses = addresses
        self._tunnel = tunnel
        self._redirect: Redirect | None = None
        self._heart = Heart(tunnel, self._beat, self._rest)
        self._holds: dict[int, Hold[P]] = {}

    async def add(self, request: Subscribe, stream: Stream, report: Report, group: asyncio.TaskGroup) -> None:
        """Steal a port from here on, until `remove`; `group` runs the connections' tasks, which may go on after that.

        Raises:
            OSError: Not possible; `strerror` says why.
            ValueError: The filter is none.
        """
        subscriber = Subscriber(self._tunnel, request, report)

        def take() -> P:
            if self._redirect is None:
                self._redirect = self._choose()
            return self._take(request.port, self._redirect, group)

        hold = Hold(self._tunnel, request, subscriber, stream, group, take)
        self._holds[request.port] = hold
        try:
            await hold.hold()
            self._heart.start()
        except BaseException:
            self.remove(request.port)
            raise
        self._look_after(hold, group)

    def remove(self, port: int) -> None:
        """Give a port back. Who waits for us gets the original; what the program has goes on."""
        hold = self._holds.pop(port, None)
        try:
            if hold is not None:
                hold.let_go()
        finally:
            if not self._holds:
                self.close()

    def close(self) -> None:
        """Give every port back."""
        self._heart.stop()
        with contextlib.ExitStack() as undo:
            if self._redirect is not None:
                # Last, and in any case: all else hangs on it.
                undo.callback(self._redirect.close)
                self._redirect = None
            for hold in self._holds.values():
                undo.callback(hold.let_go)
            self._holds.clear()

    @abstractmethod
    def _choose(self) -> Redirect:
        """Return a way to divert the protocol.

        Raises:
            OSError: There is none; `strerror` says why.
        """

    @abstractmethod
    def _take(self, port: int, redirect: Redirect, group: asyncio.TaskGroup) -> P:
        """Divert a port.

        Raises:
            OSError: Not possible; `strerror` says why.
        """

    def _look_after(self, hold: Hold[P], group: asyncio.TaskGroup) -> None:
        """See, in the background, to what a port that was just had needs: whether calls really come."""
        group.create_task(self._test(hold))

    def _look_after_again(self, hold: Hold[P], group: asyncio.TaskGroup) -> None:
        """The same for one that is had again."""

    async def _test(self, hold: Hold[P]) -> None:
        """See that what calls the port at the target's own address comes here; tell when it does not."""
        port = hold.port
        if port is None:
            return
        ip = next(iter(self._addresses or own_addresses()), "127.0.0.1")
        # One that was let go meanwhile gets nothing, whether it was had again or not.
        if (why := await port.why_missed(ip)) and hold.port is port:
            hold.subscriber.report.trouble(f"{self.call} to {ip}:{hold.request.port} does not come to the agent: {why}")

    def _beat(self, is_late: bool, now_ns: int) -> None:
        for hold in self._holds.values():
            if is_late:
                hold.give_way()
            hold.hold_soon(self._look_after_again)
        if self._redirect is not None:
            self._redirect.beat(now_ns)

    def _rest(self) -> None:
        # What is let go in a silence may be another's soon: it is asked for again when the session is heard.
        if self._redirect is not None:
            self._redirect.rest()
        for hold in self._holds.values():
            hold.let_go()


class StealTcp(Steal[StolenPort]):
    """All stolen TCP ports of one session."""

    def _choose(self) -> Redirect:
        return choose(self._force, self._addresses or None)

    def _take(self, port: int, redirect: Redirect, group: asyncio.TaskGroup) -> StolenPort:
        return StolenPort(port, redirect, group)

    def _look_after(self, hold: Hold[StolenPort], group: asyncio.TaskGroup) -> None:
        super()._look_after(hold, group)
        group.create_task(self._move(hold))

    def _look_after_again(self, hold: Hold[StolenPort], group: asyncio.TaskGroup) -> None:
        group.create_task(self._flush(hold))

    async def _move(self, hold: Hold[StolenPort]) -> None:
        """Have the clients of before come again, and count those who do not."""
        await self._flush(hold)
        if hold.port is not None:
            with contextlib.suppress(OSError):  # the kernel does not tell
                found = await asyncio.to_thread(originals, hold.request.port, self._addresses or None)
                hold.subscriber.report.stayed(len(found))

    async def _flush(self, hold: Hold[StolenPort]) -> None:
        if hold.port is None or not hold.request.flush:
            return
        report = hold.subscriber.report
        try:
            # In a thread: there may be thousands.
            report.moved(await asyncio.to_thread(flush, hold.request.port, self._addresses or None))
        except OSError as error:
            # They go on where they are, which is no reason to fail.
            report.trouble(f"connections that were there before stay with the original: {error.strerror}")
