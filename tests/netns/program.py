"""The session's end of the tunnel, which takes incoming connections as a program would, and an agent that sends them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from inpod.protocol.agent import Incoming, Mode, Subscribe, decode_request, encode
from inpod.tunnel.streams import Stream, StreamRefused
from tests.netns.conftest import Agent, running_agent
from tests.netns.traffic import CONDITION_LIMIT_S, Hosts, wait_until

KEEP_BYTES = 4 * 1024 * 1024


@dataclass
class Taken:
    """A connection that came to the program.

    Attributes:
        heard: What its client said, the first `KEEP_BYTES` of it.
        size: How much that was.
        ended: "eof" or "reset" once it is over.
    """

    request: Incoming
    stream: Stream
    heard: bytearray = field(default_factory=bytearray)
    size: int = 0
    ended: str = ""
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


class Program:
    """Greets each connection and answers what it is sent with the same.

    Attributes:
        is_greeting: False says nothing first.
        is_echoing: False reads in silence.
        hangs_up: Whether it says EOF after its first answer.
        taken: The connections, oldest first.
        is_listening: False refuses them.
        may_read: Cleared: accepts, and reads nothing.
    """

    def __init__(self, *, is_listening: bool = True) -> None:
        self.taken: list[Taken] = []
        self.is_listening = is_listening
        self.is_greeting = True
        self.is_echoing = True
        self.hangs_up = False
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._tasks: set[asyncio.Future[None]] = set()

    def on_stream(self, stream: Stream, head: bytes) -> None:
        request = decode_request(head)
        assert isinstance(request, Incoming)
        taken = Taken(request, stream)
        self.taken.append(taken)
        if not self.is_listening:
            stream.refuse()
            taken.ended = "refused"
            return
        task = asyncio.ensure_future(self._serve(taken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def heard(self, data: bytes) -> Taken:
        """Wait until some connection said exactly `data`; return it."""
        await until(lambda: any(taken.heard == data for taken in self.taken), f"{data!r} heard")
        return next(taken for taken in self.taken if taken.heard == data)

    async def _serve(self, taken: Taken) -> None:
        stream = taken.stream
        try:
            stream.accept()
            if self.is_greeting:
                # Not `write`: a stream that is reset already may still hold what came before.
                stream.send(b"program\n")
            await self.may_read.wait()
            while data := await stream.read():
                taken.heard += data[: max(0, KEEP_BYTES - len(taken.heard))]
                taken.size += len(data)
                taken.digest.update(data)
                if self.is_echoing:
                    await stream.write(data)
                if self.hangs_up:
                    stream.write_eof()
            stream.write_eof()
            taken.ended = "eof"
        except StreamRefused:
            taken.ended = "reset"


async def until(is_true: Callable[[], object], what: str, limit_s: float = CONDITION_LIMIT_S) -> float:
    """Wait for a condition while the loop runs; return how long that took."""
    return await asyncio.to_thread(wait_until, is_true, what, limit_s)


async def subscribe(agent: Agent, port: int, mode: Mode, rules: dict[str, object] | None = None) -> Stream:
    """Subscribe and wait for the agent's word that connections come.

    Args:
        rules: A filter, as the session compiles it.
    """
    stream = agent.tunnel.open(encode(Subscribe(port, mode, rules)))
    await stream.accepted()
    return stream


@asynccontextmanager
async def agent_beside(
    hosts: Hosts, program: Program, *, env: dict[str, str] | None = None, rights: Sequence[str] = ()
) -> AsyncIterator[Agent]:
    """Run the real agent in the pod's network, and `program` at the other end of its tunnel."""
    async with running_agent("--netns", hosts.pod.path, env=env, rights=rights, on_stream=program.on_stream) as agent:
        yield agent
