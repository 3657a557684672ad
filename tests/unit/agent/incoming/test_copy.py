"""Copies on their way to a session that is slow, late or gone: over a real tunnel."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inpod.agent.incoming.mirror.copy import Copy, Room
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

LIMIT_S = 20
MIB = 1024 * 1024


class Session:
    """The far end of a tunnel, which may come late."""

    def __init__(self, sock: socket.socket) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self._sock = sock
        self.tunnel = Tunnel(initiator=True, on_stream=lambda stream, head: self.streams.put_nowait(stream))

    async def come(self) -> None:
        await self.tunnel.attach(self._sock)

    async def next(self) -> Stream:
        return await asyncio.wait_for(self.streams.get(), LIMIT_S)


@asynccontextmanager
async def link() -> AsyncIterator[tuple[Tunnel, Session]]:
    ours, theirs = socket.socketpair()
    tunnel, session = Tunnel(initiator=False, on_stream=lambda stream, head: None), Session(theirs)
    await tunnel.attach(ours)
    try:
        yield tunnel, session
    finally:
        tunnel.close()
        session.tunnel.close()
        theirs.close()


async def read_all(stream: Stream) -> tuple[bytes, bool]:
    """Return what comes, and whether it ended by EOF."""
    data = b""
    try:
        async with asyncio.timeout(LIMIT_S):
            while piece := await stream.read():
                data += piece
    except StreamRefused:
        return data, False
    return data, True


def test_link_that_is_full_from_the_start() -> None:
    async def scenario() -> None:
        async with link() as (tunnel, session):
            filling = tunnel.open(b"other")
            # Beyond the link's buffer, below the stream's credit.
            while filling.send(bytes(64 * 1024)):
                pass
            copy = Copy(tunnel.open(b"copy"), Room())
            pieces = [bytes([i]) * 10_000 for i in range(100)]
            for piece in pieces:
                assert copy.write(piece) == 0
                copy.flush()
            copy.finish()
            copy.flush()
            # Nobody runs it: what is written goes out by itself.
            await session.come()
            other, stream = await session.next(), await session.next()
            assert await read_all(stream) == (b"".join(pieces), True)
            other.refuse()

    asyncio.run(scenario())


def test_what_was_said_before_a_reset_arrives() -> None:
    async def scenario() -> None:
        async with link() as (tunnel, session):
            room = Room()
            copy = Copy(tunnel.open(b""), room)
            data = bytes(range(256)) * 8192
            for at in range(0, len(data), 50_000):
                assert copy.write(data[at : at + 50_000]) == 0
            copy.abort()
            copy.flush()
            assert room.used > 0
            await session.come()
            assert await read_all(await session.next()) == (data, False)
            assert room.used == 0

    asyncio.run(scenario())


def test_what_waits_is_bounded_for_one_and_for_all() -> None:
    async def scenario() -> None:
        async with link() as (tunnel, session):
            await session.come()
            room = Room(total_bytes=5 * MIB, copy_bytes=2 * MIB)
            copies = [Copy(tunnel.open(b""), room) for _ in range(4)]
            lost = []
            for copy in copies:
                written = 0
                while not (chunks := copy.write(bytes(50_000))):
                    written += 50_000
                    if written > 1.6 * MIB and copy is not copies[0]:
                        break
                lost.append(chunks)
                assert room.used <= 5 * MIB
            # The first took more than one may, the last found the room of all taken.
            assert [bool(chunks) for chunks in lost] == [True, False, False, False]
            while not (chunks := copies[3].write(bytes(50_000))):
                pass
            assert chunks > 1
            assert [copy.is_over for copy in copies] == [True, False, False, True]
            for copy in copies:
                copy.cut()
            assert room.used == 0

    asyncio.run(scenario())


def test_session_that_refuses_ends_it() -> None:
    async def scenario() -> None:
        async with link() as (tunnel, session):
            await session.come()
            copy = Copy(tunnel.open(b""), Room())
            running = asyncio.ensure_future(copy.run())
            (await session.next()).refuse()
            await asyncio.wait_for(running, LIMIT_S)
            assert copy.is_over

    asyncio.run(scenario())


def test_answers_are_thrown_away_without_end() -> None:
    async def scenario() -> None:
        async with link() as (tunnel, session):
            await session.come()
            copy = Copy(tunnel.open(b""), Room())
            running = asyncio.ensure_future(copy.run())
            stream = await session.next()
            stream.accept()
            await asyncio.wait_for(stream.write(bytes(4 * MIB)), LIMIT_S)
            assert not copy.is_answered
            stream.write_eof()
            copy.finish()
            copy.flush()
            await asyncio.wait_for(running, LIMIT_S)
            assert copy.is_answered

    asyncio.run(scenario())
