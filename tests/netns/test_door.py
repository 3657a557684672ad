"""An agent that listens: who may come in, what happens when the link is lost, and when it ends."""

import asyncio
import contextlib
import hashlib
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from inpod.agent.door import MAX_AT_THE_DOOR
from inpod.protocol.agent import PROTOCOL_VERSION, Address, Connect, Finish, Hello, Welcome, decode_answer, encode
from inpod.tunnel.streams import Tunnel
from tests.netns.conftest import START_LIMIT_S, Pod, agent_environment
from tests.netns.pod import ECHO_PORT, HOSTNAME

TOKEN = "only the session knows"
READY = b"ready it is I\n"
IDLE_LIMIT_S = 2

PROGRAM = """
import socket, sys
from inpod.agent import main
main.IDLE_LIMIT_S = float(sys.argv[4])
main.run_listening(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], "it is I", pid=int(sys.argv[3]))
"""


@dataclass(frozen=True)
class Listening:
    process: subprocess.Popen[bytes]
    port: int

    async def connect(self, line: bytes) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", self.port))
        await loop.sock_sendall(sock, line)
        return sock

    async def enter(self) -> Tunnel:
        tunnel = Tunnel(initiator=True, on_stream=lambda stream, _: stream.refuse())
        sock = await self.connect(TOKEN.encode() + b"\n")
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, len(READY)), START_LIMIT_S) == READY
        await tunnel.attach(sock)
        return tunnel

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, START_LIMIT_S)


@asynccontextmanager
async def listening(pod: Pod, *, idle_limit_s: float = IDLE_LIMIT_S) -> AsyncIterator[Listening]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        arguments = [str(listener.fileno()), digest, str(pod.pid), str(idle_limit_s)]
        process = subprocess.Popen(  # noqa: ASYNC220  # a fork; no wait
            [sys.executable, "-c", PROGRAM, *arguments], pass_fds=[listener.fileno()], env=agent_environment()
        )
        port = listener.getsockname()[1]
    try:
        yield Listening(process, port)
    finally:
        process.kill()
        await asyncio.to_thread(process.wait, START_LIMIT_S)


async def greet(tunnel: Tunnel) -> str:
    return decode_answer(Welcome, await tunnel.ask(encode(Hello(PROTOCOL_VERSION)))).hostname


async def test_token_opens(pod: Pod) -> None:
    async with listening(pod) as agent:
        tunnel = await agent.enter()
        assert await greet(tunnel) == HOSTNAME
        tunnel.close()


@pytest.mark.parametrize("line", [b"\n", b"wrong\n", TOKEN.encode()[:-1] + b"\n", b"x" * 10_000, b"\xff\0\n"])
async def test_other_lines_are_turned_away(pod: Pod, line: bytes) -> None:
    async with listening(pod) as agent:
        # A reset, where not all of the line was read.
        with await agent.connect(line) as stranger, contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(stranger, 1), 10) == b""
        tunnel = await agent.enter()
        assert await greet(tunnel) == HOSTNAME
        tunnel.close()


async def test_silent_strangers_do_not_block_the_door(pod: Pod) -> None:
    async with listening(pod) as agent:
        # More than are let in at a time.
        strangers = [await agent.connect(b"half a line") for _ in range(MAX_AT_THE_DOOR + 36)]
        tunnel = await agent.enter()
        assert await greet(tunnel) == HOSTNAME
        tunnel.close()
        for stranger in strangers:
            stranger.close()


async def test_door_opens_again_when_there_are_descriptors(pod: Pod) -> None:
    async with listening(pod, idle_limit_s=60) as agent:
        first = await agent.enter()
        assert await greet(first) == HOSTNAME
        soft, hard = resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (0, hard))
        stranger = await agent.connect(b"wrong\n")
        # Answered behind the attempt to let the stranger in.
        for _ in range(3):
            assert await greet(first) == HOSTNAME
        resource.prlimit(agent.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        with stranger, contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(stranger, 1), START_LIMIT_S) == b""
        assert await greet(first) == HOSTNAME
        again = await agent.enter()
        assert await greet(again) == HOSTNAME
        again.close()


async def test_session_may_come_back(pod: Pod) -> None:
    async with listening(pod) as agent:
        for _ in range(3):
            tunnel = await agent.enter()
            assert await greet(tunnel) == HOSTNAME
            await tunnel.ask(encode(Connect(Address("127.0.0.1", ECHO_PORT))))
            tunnel.close()


async def test_session_that_comes_back_replaces_a_link_that_hangs(pod: Pod) -> None:
    async with listening(pod, idle_limit_s=60) as agent:
        hanging = await agent.enter()
        await greet(hanging)
        again = await agent.enter()
        assert await greet(again) == HOSTNAME
        await asyncio.wait_for(asyncio.wait([hanging.lost]), 5)
        again.close()


async def test_agent_ends_at_once_after_the_last_word(pod: Pod) -> None:
    async with listening(pod, idle_limit_s=600) as agent:
        tunnel = await agent.enter()
        await greet(tunnel)
        await tunnel.fetch(encode(Finish()))
        # Not before the link has ended.
        assert await greet(tunnel) == HOSTNAME
        tunnel.close()
        assert await agent.ended() == 0


async def test_agent_ends_when_nobody_comes(pod: Pod) -> None:
    async with listening(pod, idle_limit_s=0.2) as agent:
        assert await agent.ended() == 0


async def test_agent_ends_when_nobody_comes_back(pod: Pod) -> None:
    async with listening(pod) as agent:
        tunnel = await agent.enter()
        await greet(tunnel)
        tunnel.close()
        assert await agent.ended() == 0
