"""Connections from the pod: the kernel's verdict there, and bytes both ways."""

import asyncio
import errno
import hashlib

import pytest

from inpod.protocol.agent import Address, Connect, Connected, Refusal, decode_answer, encode
from inpod.tunnel.streams import Stream, StreamRefused
from tests.netns.conftest import Pod, running_agent
from tests.netns.pod import ECHO_PORT, RESET_PORT

ANSWER_LIMIT_S = 10


@pytest.mark.parametrize(
    ("ip", "local"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("10.77.0.1", "10.77.0.1"), ("fd77::1", "fd77::1")]
)
async def test_connected_tells_the_address_in_the_pod(pod: Pod, ip: str, local: str) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        stream = agent.tunnel.open(encode(Connect(Address(ip, ECHO_PORT))))
        connected = decode_answer(Connected, await stream.accepted())
        assert connected.local.ip == local
        assert connected.local.port > 0
        await stream.write(b"hello")
        stream.write_eof()
        assert await read_all(stream) == b"hello"


@pytest.mark.parametrize(
    ("ip", "port", "code"),
    [
        ("127.0.0.1", 9, errno.ECONNREFUSED),
        ("::1", 9, errno.ECONNREFUSED),
        ("10.66.0.1", 80, errno.EHOSTUNREACH),
        ("fd66::1", 80, errno.EHOSTUNREACH),
        ("10.65.0.1", 80, errno.EACCES),
        ("10.64.0.1", 80, errno.ENETUNREACH),
        ("10.77.0.9", 80, errno.ETIMEDOUT),
        ("not an address", 80, errno.EINVAL),
    ],
)
async def test_failure_has_the_pods_errno(pod: Pod, ip: str, port: int, code: int) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        with pytest.raises(StreamRefused) as caught:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await agent.tunnel.ask(encode(Connect(Address(ip, port))))
    assert decode_answer(Refusal, caught.value.payload) == Refusal(code)


async def test_session_may_give_a_connect_up(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        stream = agent.tunnel.open(encode(Connect(Address("10.77.0.9", 80))))
        stream.refuse(b"")
        await agent.tunnel.ask(encode(Connect(Address("127.0.0.1", ECHO_PORT))))


async def test_reset_travels(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        stream = agent.tunnel.open(encode(Connect(Address("127.0.0.1", RESET_PORT))))
        await stream.accepted()
        await stream.write(b"x")
        with pytest.raises(StreamRefused):
            await asyncio.wait_for(read_all(stream), ANSWER_LIMIT_S)


async def test_many_connections_at_once_keep_their_bytes(pod: Pod, without_uvloop: dict[str, str]) -> None:
    async def echo(stream: Stream, data: bytes) -> bytes:
        await stream.accepted()
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(read_all(stream))
            await stream.write(data)
            stream.write_eof()
        return hashlib.sha256(answer.result()).digest()

    for env in (None, without_uvloop):
        async with running_agent("--pid", str(pod.pid), env=env) as agent:
            pieces = [bytes([i]) * 200_000 + bytes(range(256)) * 100 for i in range(40)]
            streams = [agent.tunnel.open(encode(Connect(Address("127.0.0.1", ECHO_PORT)))) for _ in pieces]
            digests = await asyncio.gather(*(echo(s, d) for s, d in zip(streams, pieces, strict=True)))
            assert digests == [hashlib.sha256(piece).digest() for piece in pieces]


async def read_all(stream: Stream) -> bytes:
    data = b""
    while chunk := await stream.read():
        data += chunk
    return data
