"""Sockets of messages joined through a tunnel, on both loops: each message comes out as it went in, empty ones too."""

import asyncio
import fcntl
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from inpod.tunnel import outlets
from inpod.tunnel.messages import SIOCINQ, join_messages
from inpod.tunnel.readiness import Readiness
from inpod.tunnel.streams import Stream
from tests.netns.traffic import wait_until
from tests.unit.tunnel.conftest import Run, tunnels

SIZES = [0, 1, 65507, 65508, 0, 0, 150_000, 7]


def pair() -> tuple[socket.socket, socket.socket]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.setblocking(False)
    return one, other


@asynccontextmanager
async def joined() -> AsyncIterator[tuple[socket.socket, socket.socket, list[asyncio.Future[None]]]]:
    """Two sockets, each joined with one end of a stream, and both relays."""
    (here, here_inner), (there, there_inner) = pair(), pair()
    relays: list[asyncio.Future[None]] = []
    readiness = Readiness()

    def join(stream: Stream, sock: socket.socket) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        relays.append(ended)
        join_messages(stream, sock, lambda: ended.set_result(None), readiness)

    def on_stream(stream: Stream, head: bytes) -> None:
        stream.accept()
        join(stream, there_inner)

    async with tunnels(on_stream) as (first, _):
        stream = first.open(b"")
        await stream.accepted()
        join(stream, here_inner)
        try:
            yield here, there, relays
        finally:
            here.close()
            there.close()
            async with asyncio.timeout(10):
                await asyncio.gather(*relays)


async def receive(sock: socket.socket) -> bytes:
    async with asyncio.timeout(10):
        return await asyncio.get_running_loop().sock_recv(sock, 1 << 20)


def test_messages_come_out_as_they_went_in(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with joined() as (here, there, _):
            for one, other in ((here, there), (there, here)):
                for size in SIZES:
                    await loop.sock_sendall(one, b"m" * size) if size else one.send(b"")
                    assert len(await receive(other)) == size

    run(scenario)


def test_one_direction_ends_and_the_other_goes_on(run: Run) -> None:
    async def scenario() -> None:
        async with joined() as (here, there, relays):
            here.send(b"last")
            here.shutdown(socket.SHUT_WR)
            assert await receive(there) == b"last"
            assert await receive(there) == b""
            there.send(b"")
            there.send(b"answer")
            there.close()
            assert [await receive(here), await receive(here)] == [b"", b"answer"]
            async with asyncio.timeout(10):
                await asyncio.gather(*relays)
            assert here.recv(1) == b""

    run(scenario)


def test_who_does_not_read_holds_the_sender_up_and_loses_nothing(run: Run) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with joined() as (here, there, _):
            here.setblocking(True)
            sent = 0

            def send_until_full() -> int:
                count = 0
                here.settimeout(0.5)
                try:
                    while count < 1000:
                        here.send(count.to_bytes(4) + bytes(100_000))
                        count += 1
                except TimeoutError:
                    pass
                return count

            sent = await loop.run_in_executor(None, send_until_full)
            assert 0 < sent < 1000
            for number in range(sent):
                message = await receive(there)
                assert (message[:4], len(message)) == (number.to_bytes(4), 100_004)
            here.settimeout(10)
            await loop.run_in_executor(None, here.send, b"again")
            assert await receive(there) == b"again"

    run(scenario)


def test_what_waits_is_known_as_not_arrived(run: Run) -> None:
    async def scenario() -> None:
        async with joined() as (here, there, _):
            here.send(b"unread")
            there.setblocking(True)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(10):
                # It lies in the far socket.
                assert await loop.run_in_executor(None, there.recv, 9, socket.MSG_PEEK) == b"unread"
                arriving = asyncio.ensure_future(outlets.arrived())
                await asyncio.sleep(0)
                assert not arriving.done()
                there.recv(9)
                assert await arriving

    run(scenario)


@pytest.mark.parametrize("reads", [True, False], ids=["slowly", "never"])
def test_far_end_is_waited_for_as_long_as_it_reads(run: Run, monkeypatch: pytest.MonkeyPatch, reads: bool) -> None:
    monkeypatch.setattr(outlets, "STILL_LOOKS", 20)

    async def scenario() -> None:
        async with joined() as (here, there, _):
            count = 100
            for number in range(count):
                here.send(bytes([number]))
            await asyncio.to_thread(wait_until, lambda: _has(there, count), "all of them lie in the far socket")
            arriving = asyncio.ensure_future(outlets.arrived())
            for number in range(count if reads else 0):
                assert await receive(there) == bytes([number])
                # For each look one is read or two: for all of them more looks than a far end may be still.
                await asyncio.sleep(outlets.LOOK_AT_LEAST_EVERY_S / 2)
                assert not arriving.done() or number == count - 1
            assert await arriving is reads

    run(scenario)


def _has(sock: socket.socket, size: int) -> bool:
    (found,) = struct.unpack("i", fcntl.ioctl(sock, SIOCINQ, bytes(4)))
    return bool(found == size)


@pytest.mark.parametrize("who", ["here", "there"])
def test_end_of_one_is_the_end_of_the_other(run: Run, who: str) -> None:
    async def scenario() -> None:
        async with joined() as (here, there, relays):
            gone, left = (here, there) if who == "here" else (there, here)
            left.send(b"unread")
            await receive(gone)
            left.send(b"never read")
            gone.close()
            left.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(10):
                await asyncio.gather(*relays)

    run(scenario)
