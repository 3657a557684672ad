"""Names, as the pod resolves them."""

import asyncio
import contextlib
import errno
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from inpod.protocol import agent, layer
from inpod.tunnel.streams import StreamRefused, Tunnel

EAI = {"noname": -2, "again": -3, "nodata": -5}
"""glibc's EAI_NONAME, EAI_AGAIN, EAI_NODATA (netdb.h)."""

FAMILY = {0: 0, 4: 2, 6: 10}

KEPT_S = 5.0
"""Longest that an answer is kept, however long it holds: CoreDNS says 30 s of names whose pods come and go."""

MAX_KEPT = 1024

Lookup = agent.Resolve | agent.FindName

T = TypeVar("T")


class Names:
    """Asks the agent, and keeps what the name servers allow to keep: a program may ask for each of its connections."""

    def __init__(self, tunnel: Callable[[], Tunnel]) -> None:
        self._tunnel = tunnel
        self._loop = asyncio.get_running_loop()
        self._kept: OrderedDict[Lookup, tuple[float, agent.Resolved]] = OrderedDict()

    def answer(self, request: layer.Resolve | layer.Name) -> bytes | Awaitable[bytes]:
        """Return the reply to a RESOLVE or NAME, now or later."""
        question: Lookup
        if isinstance(request, layer.Name):
            question = agent.FindName(layer.Addr(6, 0, request.ip).host)
        else:
            question = agent.Resolve(request.name, FAMILY.get(request.family, 0))
        kept = self._known(question)
        return self._asked(question) if kept is None else _reply(kept)

    async def ask(self, request: layer.Question) -> bytes:
        """Return the reply to a QUESTION."""
        question = agent.Question(request.message.decode("latin-1"), request.searches)
        try:
            message = await self._tunnel().fetch(agent.encode(question))
        except StreamRefused as refused:
            return layer.encode_reply(agent.errno_of(refused.payload, errno.ENETUNREACH))
        return layer.encode_reply(0, layer.Answered(message))

    async def resolve(self, name: str) -> Sequence[str]:
        """Return the addresses of a name in text form, none where there are none to be had."""
        question = agent.Resolve(name)
        found = self._known(question)
        if found is None:
            decided: asyncio.Future[agent.Resolved | None] = self._loop.create_future()
            self._ask(question, lambda found: _settle(decided, found))
            found = await decided
        return () if found is None else found.addresses

    def _asked(self, question: Lookup) -> asyncio.Future[bytes]:
        reply: asyncio.Future[bytes] = self._loop.create_future()
        self._ask(question, lambda found: _settle(reply, _reply(found)))
        return reply

    def _ask(self, question: Lookup, tell: Callable[[agent.Resolved | None], None]) -> None:
        """Ask the agent, and tell its answer, None when there is none. Without a task: a program waits."""
        stream = self._tunnel().open(agent.encode(question), at_once=True)

        def decided() -> None:
            found = None
            with contextlib.suppress(StreamRefused, agent.PeerProtocolError):
                found = agent.decode_answer(agent.Resolved, stream.answer())
                self._keep(question, found)
            # The agent has ended the stream with its answer.
            tell(found)

        stream.when_decided(decided)

    def _keep(self, question: Lookup, found: agent.Resolved) -> None:
        if not found.failure and found.ttl > 0:
            self._kept[question] = self._loop.time() + min(found.ttl, KEPT_S), found
            self._kept.move_to_end(question)
            if len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)

    def _known(self, question: Lookup) -> agent.Resolved | None:
        until, found = self._kept.get(question, (0.0, None))
        return found if self._loop.time() < until else None


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():  # who waited may be gone
        future.set_result(result)


def _reply(found: agent.Resolved | None) -> bytes:
    if found is None:
        return layer.encode_reply(EAI["again"])
    if found.failure or not (found.addresses or found.canonical):
        return layer.encode_reply(EAI.get(found.failure, EAI["noname"]))
    addresses = tuple(layer.Addr.of(text.partition("%")[0], 0).ip for text in found.addresses)
    return layer.encode_reply(0, layer.Resolved(addresses, found.canonical))
