"""Sockets joined through a tunnel, on both loops: what goes in comes out, whoever is slow and whatever ends first."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream
from tests.unit.tunnel.conftest import PATTERN, Run, tunnels

MIB = 1024 * 1024


@pytest.fixture(params=["tcp", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def socket_pair(kind: str) -> tuple[socket.socket, socket.socket]:
    if kind == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        served, _ = listener.accept()
    return client, served


@asynccontextmanager
async def joined(kind: str = "tcp") -> AsyncIterator[tuple[socket.socket, socket.socket, list[asyncio.Future[None]]]]:
    """Two sockets, each joined with one end of a stream, and both relays."""
    (here, here_inner), (there, there_inner) = socket_pair(kind), socket_pair(kind)
    relays: list[asyncio.Future[None]] = []

    def on_stream(stream: Stream, head: bytes) -> None:
        stream.accept()
        relays.append(asyncio.ensure_future(relay(stream, there_inner)))

    async with tunnels(on_stream) as (first, _):
        stream = first.open(b"")
        await stream.accepted()
        relays.append(asyncio.ensure_future(relay(stream, here_inner)))
        here.setblocking(False)
        there.setblocking(False)
        try:
            yield here, there, relays
        finally:
            here.close()
            there.close()
            async with asyncio.timeout(10):
                await asyncio.gather(*relays)


def pattern(size: int) -> Iterator[bytes]:
    """Pieces of PATTERN, again and again, `size` bytes together; their lengths vary."""
    at = 0
    while at < size:
        length = min(7919 + at % 100_003, size - at)
        start = at % len(PATTERN)
        yield (PATTERN * 3)[start : start + length]
        at += length


async def send(sock: socket.socket, size: int, *, slow: bool = False) -> None:
    loop = asyncio.get_running_loop()
    for turn, piece in enumerate(pattern(size)):
        await loop.sock_sendall(sock, piece)
        if slow and turn % 4 == 0:
            await asyncio.sleep(0.001)
    sock.shutdown(socket.SHUT_WR)


async def check(sock: socket.socket, size: int, *, slow: bool = False) -> None:
    loop = asyncio.get_running_loop()
    at = 0
    buffer = bytearray(64 * 1024)
    twice = memoryview(PATTERN * 3)
    while count := await loop.sock_recv_into(sock, buffer):
        start = at % len(PATTERN)
        assert buffer[:count] == twice[start : start + count]
        at += count
        if slow and at // MIB != (at - count) // MIB:
            await asyncio.sleep(0.01)
    assert at == size


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["reader", "writer", "nobody"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_100_mib_arrive_byte_for_byte(run: Run, way: str, slow: str) -> None:
    async def main() -> None:
        size = 100 * MIB
        async with joined() as (here, there, _):
            source, sink = (here, there) if way == "up" else (there, here)
            await asyncio.gather(
                send(source, size, slow=slow == "writer"),
                check(sink, size, slow=slow == "reader"),
            )
            sink.shutdown(socket.SHUT_WR)
            assert await asyncio.get_running_loop().sock_recv(source, 1) == b""

    run(main)


def test_both_ways_at_once_arrive_byte_for_byte(run: Run, kind: str) -> None:
    async def main() -> None:
        size = 8 * MIB
        async with joined(kind) as (here, there, relays):
            await asyncio.gather(send(here, size), send(there, size), check(here, size), check(there, size, slow=True))
            await asyncio.gather(*relays)

    run(main)


def test_half_closed_connection_still_answers(run: Run, kind: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with joined(kind) as (here, there, relays):
            await loop.sock_sendall(here, b"question")
            here.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(there, 100) == b"question"
            assert await loop.sock_recv(there, 100) == b""
            await loop.sock_sendall(there, b"answer")
            assert await loop.sock_recv(here, 100) == b"answer"
            assert not any(relay.done() for relay in relays)
            there.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(here, 100) == b""
            await asyncio.gather(*relays)

    run(main)


@pytest.mark.parametrize("who", ["here", "there"])
def test_reset_passes_through(run: Run, who: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with joined() as (here, there, relays):
            await loop.sock_sendall(here, b"x")
            assert await loop.sock_recv(there, 1) == b"x"
            one, other = (here, there) if who == "here" else (there, here)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(other, 1)
            await asyncio.gather(*relays)

    run(main)


def test_bytes_before_the_relay_are_not_lost(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        client, served = socket_pair("tcp")
        client.setblocking(False)
        arrived: asyncio.Queue[Stream] = asyncio.Queue()
        async with tunnels(lambda stream, head: arrived.put_nowait(stream)) as (first, _):
            stream = first.open(b"")
            await stream.write(b"early")
            stream.write_eof()
            far = await arrived.get()
            far.accept()
            await stream.accepted()
            # Everything, the end too, lies in the stream by now.
            relayed = asyncio.ensure_future(relay(far, served))
            assert await loop.sock_recv(client, 100) == b"early"
            assert await loop.sock_recv(client, 100) == b""
            client.close()
            await relayed

    run(main)


@pytest.mark.parametrize("how", ["link lost", "stream reset", "relay cancelled"])
def test_socket_is_reset_when_the_stream_goes(run: Run, how: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        client, served = socket_pair("tcp")
        client.setblocking(False)
        relays: list[asyncio.Future[None]] = []

        def on_stream(stream: Stream, head: bytes) -> None:
            stream.accept()
            relays.append(asyncio.ensure_future(relay(stream, served)))

        async with tunnels(on_stream) as (first, _):
            stream = first.open(b"")
            await stream.write(b"x")
            assert await loop.sock_recv(client, 1) == b"x"
            if how == "link lost":
                first.close()
            elif how == "stream reset":
                stream.refuse()
            else:
                relays[0].cancel()
            with pytest.raises(ConnectionResetError):
                await loop.sock_recv(client, 1)
            await asyncio.wait(relays)
            assert stream.closed or how == "relay cancelled"
        client.close()

    run(main)


def test_many_connections_at_once_are_kept_apart(run: Run) -> None:
    async def main() -> None:
        size = 64 * 1024 + 17
        async with tunnels_to_echo() as connect:

            async def one(number: int) -> None:
                reader, writer = await asyncio.open_connection(sock=connect())
                data = bytes([number % 251]) * (size + number)
                writer.write(data)
                writer.write_eof()
                assert await reader.read() == data
                writer.close()

            await asyncio.gather(*(one(number) for number in range(200)))

    run(main)


@asynccontextmanager
async def tunnels_to_echo() -> AsyncIterator[Callable[[], socket.socket]]:
    tasks: list[asyncio.Future[None]] = []

    async def echo(stream: Stream) -> None:
        stream.accept()
        while data := await stream.read():
            await stream.write(data)
        stream.write_eof()

    def on_stream(stream: Stream, head: bytes) -> None:
        tasks.append(asyncio.ensure_future(echo(stream)))

    async with tunnels(on_stream) as (first, _):

        def connect() -> socket.socket:
            outer, inner = socket.socketpair()
            tasks.append(asyncio.ensure_future(relay(first.open(b""), inner)))
            return outer

        yield connect
        await asyncio.gather(*tasks)
