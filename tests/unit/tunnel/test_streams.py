"""Tunnels over a socket pair, on both loops: what goes in comes out, slow ends included."""

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from inpod.tunnel.mux import WINDOW
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

Run = Callable[[Callable[[], Awaitable[None]]], None]
PATTERN = bytes(range(256)) * 251
"""A length that is no power of two, so that a lost or doubled piece shows."""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine function on one of the loops, with a limit."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_it(main: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(60):
                await main()
            for _ in range(3):  # transports that were closed end in the loop's next turns
                await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(limited())

    return run_it


async def pair(on_stream: Callable[[Stream, bytes], None]) -> tuple[Tunnel, Tunnel]:
    """Return both ends of a tunnel; `on_stream` is the second one's."""
    here, there = socket.socketpair()
    first = Tunnel(initiator=True, on_stream=lambda stream, head: stream.refuse(b"no"))
    second = Tunnel(initiator=False, on_stream=on_stream)
    await first.attach(here)
    await second.attach(there)
    return first, second


def test_question_is_answered(run: Run) -> None:
    async def main() -> None:
        first, second = await pair(lambda stream, head: stream.accept(head[::-1]))
        assert await first.ask(b"abc") == b"cba"
        with pytest.raises(StreamRefused) as refused:
            await second.ask(b"abc")
        assert refused.value.payload == b"no"
        first.close()
        second.close()

    run(main)


def test_lost_link_refuses_every_waiter(run: Run) -> None:
    async def main() -> None:
        first, second = await pair(lambda stream, head: None)
        waiting = [asyncio.ensure_future(first.ask(b"x")) for _ in range(5)]
        await asyncio.sleep(0)
        second.close()
        for waiter in waiting:
            with pytest.raises(StreamRefused):
                await waiter
        await first.lost
        with pytest.raises(StreamRefused):
            await first.ask(b"late")
        first.close()

    run(main)


def test_slow_stream_holds_one_window_and_no_other_stream(run: Run) -> None:
    async def main() -> None:
        streams: list[Stream] = []

        def on_stream(stream: Stream, head: bytes) -> None:
            streams.append(stream)
            stream.accept()

        first, second = await pair(on_stream)
        slow, quick = first.open(b"slow"), first.open(b"quick")
        await slow.accepted()
        await quick.accepted()
        writing = asyncio.ensure_future(slow.write(PATTERN * 64))
        for _ in range(50):
            await quick.write(b"ping")
            assert await streams[1].read() == b"ping"
        assert not writing.done()
        assert first.mux.streams[slow.number].credit == 0
        total = 0
        while total < len(PATTERN) * 64:
            total += len(await streams[0].read())
        await writing
        first.close()
        second.close()

    run(main)


@pytest.mark.parametrize("slow", ["reader", "writer", "none"])
def test_relayed_bytes_are_exact_both_ways(run: Run, slow: str) -> None:
    """8 MiB through socket - relay - tunnel - relay - socket, each way, with a half-close at the end."""

    async def main() -> None:
        a_out, a_in = socket.socketpair()
        b_out, b_in = socket.socketpair()
        relays: list[asyncio.Future[None]] = []

        def on_stream(stream: Stream, head: bytes) -> None:
            stream.accept()
            relays.append(asyncio.ensure_future(relay(stream, b_in)))

        first, second = await pair(on_stream)
        stream = first.open(b"")
        await stream.accepted()
        relays.append(asyncio.ensure_future(relay(stream, a_in)))
        data = PATTERN * 131

        async def send(writer: asyncio.StreamWriter) -> None:
            step = 7919 if slow == "writer" else len(data)
            for at in range(0, len(data), step):
                writer.write(data[at : at + step])
                await writer.drain()
            writer.write_eof()

        async def exchange(sock: socket.socket) -> None:
            reader, writer = await asyncio.open_connection(sock=sock)
            sending = asyncio.ensure_future(send(writer))
            digest, size = hashlib.sha256(), 0
            while piece := await reader.read(1500 if slow == "reader" else 1 << 20):
                digest.update(piece)
                size += len(piece)
                if slow == "reader":
                    await asyncio.sleep(0)
            await sending
            assert size == len(data)
            assert digest.digest() == hashlib.sha256(data).digest()
            writer.close()

        await asyncio.gather(exchange(a_out), exchange(b_out))
        await asyncio.gather(*relays)
        assert not first.mux.streams
        assert not second.mux.streams
        first.close()
        second.close()

    run(main)


def test_reset_of_a_socket_is_a_reset_at_the_far_end(run: Run) -> None:
    async def main() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
        listener.close()
        relays: list[asyncio.Future[None]] = []

        def on_stream(stream: Stream, head: bytes) -> None:
            stream.accept()
            relays.append(asyncio.ensure_future(relay(stream, served)))

        first, second = await pair(on_stream)
        stream = first.open(b"")
        await stream.accepted()
        stream.refuse()
        await asyncio.gather(*relays)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        client.close()
        first.close()
        second.close()

    run(main)


def test_garbage_ends_the_link(run: Run) -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        tunnel = Tunnel(initiator=True, on_stream=lambda stream, head: None)
        await tunnel.attach(here)
        there.send(b"\xff" * 40)
        await tunnel.lost
        there.close()

    run(main)


def test_window_is_larger_than_a_frame() -> None:
    assert WINDOW % (64 * 1024) == 0
