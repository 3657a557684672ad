"""One stolen port of one session: had by this agent, shared with another agent, or neither for the moment.

When a host stands still the kernel lets everything pass to the original. One of its guests then takes its place:

    - it claims the role of the stand-in, which one can have;
    - it goes on listening for `STAND_IN_AFTER_BEATS`, so that the host was at work no more when that was claimed;
    - it steals the port itself, and takes guests in.

Two agents at work would hand each other their connections to the original, in a circle. So a host that stood still looks
for a stand-in before it beats again, and if there is one it becomes its guest (`give_way`). Whoever comes asks for a
stand-in first.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable
from typing import Generic, TypeVar

from inpod.agent.incoming import claims
from inpod.agent.incoming.claims import Claim
from inpod.agent.incoming.proofs import Role
from inpod.agent.incoming.sharing import Guest, Host, Shared, does_not_answer
from inpod.agent.incoming.subscriber import Subscriber
from inpod.protocol.agent import Refusal, Subscribe, encode
from inpod.tunnel.streams import Stream, Tunnel

AGAIN_TIMES = 20
AGAIN_EVERY_S = 0.05
"""A host that goes leaves its name free a moment later."""

STAND_IN_AFTER_BEATS = 6
"""Beats of a guest in a row, each in time, at which the host was silent still: between two of them all is read that it
had said. With the silence before (`Guest.hears`) that is more than the kernel keeps a port diverted without its beats."""

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
        self._is_stand_in = self._host_is_stand_in = False
        self._turn: Claim | None = None
        self._silent_beats = 0

    async def hold(self) -> None:
        """Have the port, or a share of it.

        Raises:
            OSError: Neither can be had; `strerror` says why.
        """
        port, protocol = self.request.port, self.request.protocol
        for _ in range(AGAIN_TIMES):
            if await self._join("stand-in"):
                return
            if (claimed := claims.claim(port, protocol, "steal")) is not None:
                with contextlib.ExitStack() as undo:
                    undo.callback(claimed.close)
                    # Only now: nobody becomes a stand-in when there is no host.
                    if not claims.is_claimed(port, protocol, "stand-in"):
                        undo.pop_all()
                        self._become_host(claimed)
                        return
            elif await self._join_host():
                return
            await asyncio.sleep(AGAIN_EVERY_S)
        raise does_not_answer(port)

    def hold_soon(self, on_again: "OnAgain[P]") -> None:
        """Have it again, if it was let go or its host went; call this every now and then.

        Args:
            on_again: Called when it is had again after it was let go.
        """
        is_left = self._guest is not None and self._guest.gone.done()
        if is_left:
            self._leave()
        if self._guest is not None:
            if self._guest.hears():
                self._give_turn_back()
                self._tell("")
            else:
                self._tell("the agent of the session that shares it does not answer")
                self._wait_for_turn()
        is_held = self._host is not None or self._guest is not None
        if self._was_held and not is_held and (self._holding is None or self._holding.done()):
            # Of the moment since a host left, nothing is worth a reset: only of a silence.
            self._holding = self._group.create_task(self._hold_again(None if is_left else on_again))

    def give_way(self) -> None:
        """After this process stood still: have it no more, if a guest has taken our place. Call it before `hold_soon`."""
        request = self.request
        self._silent_beats = 0
        if self._host is None or self._is_stand_in:
            return
        is_taken = True
        with contextlib.suppress(OSError):  # nobody knows, and two at work would be worse than none
            is_taken = claims.is_claimed(request.port, request.protocol, "stand-in")
        if is_taken:
            self.let_go()

    def let_go(self) -> None:
        """Have it no more."""
        if self._holding is not None:
            self._holding.cancel()
        with contextlib.ExitStack() as undo:
            # Each in any case, the port first: giving it back may fail on a kernel that is too busy to answer.
            for held in (self._guest, self._turn, self._host, self.port):
                if held is not None:
                    undo.callback(held.close)
            self._guest = self._turn = self._host = self.port = None
            self._is_stand_in = False

    async def _join_host(self) -> bool:
        try:
            return await self._join("steal")
        except OSError:
            # While it did not answer, a guest may have taken its place.
            if not await self._join("stand-in"):
                raise
            return True

    async def _join(self, role: Role) -> bool:
        """Become a guest of the agent that has a role; False when there is none.

        Raises:
            OSError: It refuses, or does not answer.
        """
        request = self.request
        try:
            sock = claims.reach(request.port, request.protocol, role)
        except BlockingIOError:
            raise does_not_answer(request.port) from None
        if sock is None:
            return False
        guest = Guest(self._tunnel, self._stream, self._group)
        try:
            await guest.join(sock, request, role)
        except OSError as error:
            if error.errno != errno.ECONNRESET:
                raise
            return False
        self._guest, self._host_is_stand_in = guest, role == "stand-in"
        self._was_held = True
        return True

    def _become_host(self, claimed: Claim) -> None:
        """Steal the port, and let guests in at `claimed`.

        Raises:
            OSError: Not possible; `strerror` says why.
        """
        try:
            self.port = self._take()
            claimed.listen()
        except BaseException:
            claimed.close()
            raise
        self.port.add(self.subscriber)
        self._host = Host(claimed, self.port, self._group, self._taken_over)
        self._was_held = True

    def _wait_for_turn(self) -> None:
        """Take the place of a silent host, when nobody else does and it must have stood still; else go to who did."""
        if self._host_is_stand_in:
            return
        request = self.request
        if self._turn is None:
            self._silent_beats = 0
            with contextlib.suppress(OSError):  # no descriptor is left: the next beat tries again
                self._turn = claims.claim(request.port, request.protocol, "stand-in")
            if self._turn is None and self._is_there_a_stand_in():
                self._leave()
            return
        self._silent_beats += 1
        if self._silent_beats < STAND_IN_AFTER_BEATS:
            return
        turn, self._turn = self._turn, None
        self._leave()
        try:
            self._become_host(turn)
        except OSError as error:
            self._tell(str(error.strerror))
            return
        self._is_stand_in = True
        self._tell("")

    def _is_there_a_stand_in(self) -> bool:
        with contextlib.suppress(OSError):
            sock = claims.reach(self.request.port, self.request.protocol, "stand-in")
            if sock is not None:
                sock.close()
                return True
        return False

    def _leave(self) -> None:
        """Be no guest any more."""
        self._give_turn_back()
        if self._guest is not None:
            self._guest.close()
            self._guest = None

    def _give_turn_back(self) -> None:
        if self._turn is not None:
            self._turn.close()
            self._turn = None

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
