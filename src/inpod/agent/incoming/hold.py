"""One stolen port of one session: had by this agent, shared with another agent, or neither for the moment."""

import asyncio
import contextlib
import errno
from collections.abc import Callable
from typing import Generic, TypeVar

from inpod.agent.incoming import claims
from inpod.agent.incoming.sharing import Guest, Host, Shared, does_not_answer
from inpod.agent.incoming.subscriber import Subscriber
from inpod.protocol.agent import Refusal, Subscribe, encode
from inpod.tunnel.streams import Stream, Tunnel

AGAIN_TIMES = 20
AGAIN_EVERY_S = 0.05
"""A host that goes leaves its name free a moment later."""

P = TypeVar("P", bound=Shared)

OnAgain = Callable[["Hold[P]", asyncio.TaskGroup], None]


class Hold(Generic[P]):
    """A port, for as long as the session wants it.

    Attributes:
        port: What this agent has of the kernel; None while it is another's, or nobody's.
        request, subscriber: The session's wish.
    """

    def __init__(
        self,
        tunnel: Tunnel,
        request: Subscribe,
        subscriber: Subscriber,
        stream: Stream,
        group: asyncio.TaskGroup,
        take: Callable[[], P],
    ) -> None:
        """Prepare; see `hold`.

        Args:
            take: Steals the port.
        """
        self.port: P | None = None
        self.request = request
        self.subscriber = subscriber
        self._tunnel = tunnel
        self._stream = stream
        self._group = group
        self._take = take
        self._host: Host | None = None
        self._guest: Guest | None = None
        self._holding: asyncio.Task[None] | None = None
        self._was_held = False
        self._trouble = ""

    async def hold(self) -> None:
        """Have the port, or a share of it.

        Raises:
            OSError: Neither can be had; `strerror` says why.
        """
        request = self.request
        for _ in range(AGAIN_TIMES):
            if (claim := claims.claim(request.port, request.protocol)) is not None:
                try:
                    self.port = self._take()
                except BaseException:
                    claim.close()
                    raise
                self.port.add(self.subscriber)
                self._host = Host(claim, self.port, self._group, self._taken_over)
                self._was_held = True
                return
            try:
                sock = claims.reach(request.port, request.protocol)
            except BlockingIOError:
                break
            if sock is not None:
                guest = Guest(self._tunnel, self._stream, self._group)
                try:
                    await guest.join(sock, request)
                except OSError as error:
                    if error.errno != errno.ECONNRESET:
                        raise
                else:
                    self._guest = guest
                    self._was_held = True
                    return
            await asyncio.sleep(AGAIN_EVERY_S)
        raise does_not_answer(request.port)

    def hold_soon(self, on_again: "OnAgain[P]") -> None:
        """Have it again, if it was let go or its host went; call this every now and then.

        Args:
            on_again: Called when it is had again after it was let go.
        """
        is_left = self._guest is not None and self._guest.gone.done()
        if is_left:
            self._guest = None
        if self._guest is not None:
            self._tell("" if self._guest.hears() else "the agent of the session that shares it does not answer")
        is_held = self._host is not None or self._guest is not None
        if self._was_held and not is_held and (self._holding is None or self._holding.done()):
            # Of the moment since a host left, nothing is worth a reset: only of a silence.
            self._holding = self._group.create_task(self._hold_again(None if is_left else on_again))

    def let_go(self) -> None:
        """Have it no more."""
        if self._holding is not None:
            self._holding.cancel()
        with contextlib.ExitStack() as undo:
            # Each in any case, the port first: giving it back may fail on a kernel that is too busy to answer.
            for held in (self._guest, self._host, self.port):
                if held is not None:
                    undo.callback(held.close)
            self._guest = self._host = self.port = None

    async def _hold_again(self, on_again: "OnAgain[P] | None") -> None:
        try:
            await self.hold()
        except OSError as error:
            # Who has it may not share it: then the next beat asks again.
            self._tell(str(error.strerror))
            return
        self._tell("")
        if on_again is not None:
            on_again(self, self._group)

    def _tell(self, trouble: str) -> None:
        """Tell the session why it gets nothing, and that it does again."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        text = (
            f"{trouble}; until that ends nothing comes to this session" if trouble else "it comes to this session again"
        )
        self.subscriber.report.trouble(text)

    def _taken_over(self, who: str) -> None:
        """Give the port to a session that insists; ours hears of it."""
        self._was_held = False
        self.let_go()
        reason = f"{who or 'another session'} took port {self.request.port} over"
        self._stream.refuse(encode(Refusal(errno.ECONNABORTED, reason)))
