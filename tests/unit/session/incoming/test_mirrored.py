"""A mirrored connection to the program, on both loops: what becomes of its answers."""

import asyncio
import fcntl
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from inpod.protocol.agent import PREFACE
from inpod.session.incoming.mirrored import MAX_HELD, Mirrored
from inpod.tunnel.messages import SIOCINQ
from inpod.tunnel.outlets import SIOCOUTQ
from inpod.tunnel.streams import Stream
from tests.netns.traffic import wait_until
from tests.unit.tunnel.conftest import Run, tunnels
from tests.unit.tunnel.test_relay import socket_pair


@asynccontextmanager
async def mirrored() -> AsyncIterator[tuple[Stream, socket.socket, socket.socket]]:
    """The agent's end of a stream, and both ends of the program's connection."""
    program, served = socket_pair("tcp")
    program.setblocking(False)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_stream(stream: Stream, head: bytes) -> None:
        stream.accept()
        Mirrored(stream, lambda: ended.set_result(None)).begin(served)

    async with tunnels(on_stream) as (first, _):
        stream = first.open(b"")
        await stream.accepted()
        yield stream, program, served
        program.close()
        stream.refuse()
        await ended


def unsent(sock: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(sock, SIOCOUTQ, bytes(4)), sys.byteorder)


def unread(sock: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(sock, SIOCINQ, bytes(4)), sys.byteorder)


async def hears(program: socket.socket, data: bytes) -> None:
    assert await asyncio.get_running_loop().sock_recv(program, 100) == data


def test_answers_are_thrown_away_and_their_end_is_passed_on(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with mirrored() as (stream, program, _):
            await loop.sock_sendall(program, b"greeting nobody wants")
            await stream.write(b"request")
            await hears(program, b"request")
            await loop.sock_sendall(program, b"answer nobody wants")
            program.shutdown(socket.SHUT_WR)
            await stream.write(b"another")
            await hears(program, b"another")
            stream.write_eof()
            assert await stream.read() == b""
            await hears(program, b"")

    run(main)


def test_answers_in_http2_are_the_agents_from_their_first_byte(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with mirrored() as (stream, program, _):
            await loop.sock_sendall(program, b"settings")
            await stream.write(PREFACE + b"request")
            await hears(program, PREFACE + b"request")
            await loop.sock_sendall(program, b", answer")
            heard = b""
            while heard != b"settings, answer":
                heard += await stream.read()
            stream.write_eof()
            await hears(program, b"")

    run(main)


@pytest.mark.parametrize("client_speaks_first", [True, False])
def test_what_is_thrown_away_once_is_thrown_away_for_good(run: Run, client_speaks_first: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with mirrored() as (stream, program, served):
            if client_speaks_first:
                await stream.write(b"request")
                await hears(program, b"request")
            await loop.sock_sendall(program, bytes(MAX_HELD + 1))
            await asyncio.to_thread(wait_until, lambda: not unsent(program) and not unread(served), "it is taken")
            await stream.write(PREFACE)
            await hears(program, PREFACE)
            await loop.sock_sendall(program, b"answer")
            program.shutdown(socket.SHUT_WR)
            assert await stream.read() == b""

    run(main)
