"""Incoming UDP of an agent: who gets the datagrams, and where answers come from."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from inpod.protocol.agent import Incoming, Mode, PortReport, Refusal, Subscribe, decode_answer, decode_request, encode
from inpod.protocol.datagrams import DatagramDecoder
from inpod.protocol.datagrams import encode as framed
from inpod.tunnel.streams import Stream, StreamRefused
from tests.netns.conftest import Agent, Pod, running_agent
from tests.netns.program import until
from tests.processes import LIMIT_S, next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a pod of root")

PORT = 5300
ADDRESSES = ["10.77.0.1", "127.0.0.1", "fd77::1", "::1"]

ORIGINAL = """
import socket, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.bind(("::", int(sys.argv[1])))
print("ready", flush=True)
while True:
    data, sender = sock.recvfrom(65536)
    sock.sendto(b"original " + data[:20], sender)
"""

TAKER = """
import socket, sys, time
from inpod.agent.incoming.redirect.sk_lookup import SkLookup
redirect = SkLookup(None, socket.IPPROTO_UDP)
redirect.steal(int(sys.argv[1]))
redirect.beat()
print("ready", flush=True)
while True:
    time.sleep(0.25)
    redirect.beat()
"""
"""Takes the datagrams, as whoever was there first is asked first by the kernel."""

CLIENT = """
import json, socket, sys
ip, port, texts, size = json.loads(sys.argv[1])
sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.connect((ip, port))
found = []
for text in texts:
    sock.send(text.encode().ljust(size, b"."))
    found.append(sock.recv(65536).decode())
print(json.dumps([found, sock.getsockname()[:2]]))
"""
"""Its socket is connected: an answer from elsewhere would not be heard."""


@pytest.fixture
def original(pod: Pod) -> Iterator[None]:
    with running_inside(pod, ORIGINAL):
        yield


@pytest.fixture
def taker(pod: Pod) -> Iterator[None]:
    with running_inside(pod, TAKER):
        yield


@contextmanager
def running_inside(pod: Pod, script: str) -> Iterator[None]:
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", script, str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert next_line(process.stdout) == "ready"
        yield
        process.kill()


async def ask(pod: Pod, ip: str, *texts: str, size: int = 0) -> tuple[list[str], list[object]]:
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", CLIENT, json.dumps([ip, PORT, texts, size])]
    run = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    out, _ = await asyncio.wait_for(run.communicate(), LIMIT_S)
    found, own = json.loads(out)
    return found, own


class Session:
    """Answers each datagram with what it was and that it was stolen."""

    def __init__(self) -> None:
        self.seen: list[tuple[Incoming, bytes]] = []

    def on_stream(self, stream: Stream, head: bytes) -> None:
        decoded = decode_request(head)
        assert isinstance(decoded, Incoming)
        request: Incoming = decoded
        stream.accept()
        decoder = DatagramDecoder()

        class Sink:
            def data(_, data: bytes) -> None:  # noqa: N805
                stream.passed_on(len(data))
                for datagram in decoder.feed(data):
                    self.seen.append((request, datagram))
                    stream.send(framed(b"stolen " + datagram))

            def eof(_) -> None:  # noqa: N805
                stream.write_eof()

            def reset(_) -> None:  # noqa: N805
                pass

            def writable(_) -> None:  # noqa: N805
                pass

        stream.set_sink(Sink())


@asynccontextmanager
async def subscribed(pod: Pod, mode: Mode) -> AsyncIterator[tuple[Agent, Session, Stream]]:
    session = Session()
    async with running_agent("--pid", str(pod.pid), on_stream=session.on_stream) as agent:
        stream = agent.tunnel.open(encode(Subscribe(PORT, mode, protocol="udp")))
        await stream.accepted()
        yield agent, session, stream


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("ip", ADDRESSES)
async def test_stolen_datagrams_are_answered_from_the_address_called(pod: Pod, ip: str) -> None:
    async with subscribed(pod, "steal") as (_, session, stream):
        found, own = await ask(pod, ip, "one", "two")
        assert found == ["stolen one", "stolen two"]
        assert [(r.peer.ip, r.peer.port, r.local.ip, r.local.port, r.mode) for r, _ in session.seen] == [
            (own[0], own[1], ip, PORT, "steal")
        ] * 2
        stream.refuse()
        while (await ask(pod, ip, "three"))[0] != ["original three"]:
            pass


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("ip", ADDRESSES)
async def test_mirrored_datagrams_are_answered_by_the_original(pod: Pod, ip: str) -> None:
    async with subscribed(pod, "mirror") as (_, session, _):
        found, own = await ask(pod, ip, "one", "two")
        assert found == ["original one", "original two"]
        await until(lambda: len(session.seen) == 2, "both are copied")
        assert [(r.peer.ip, r.peer.port, r.local.ip, data) for r, data in session.seen] == [
            (own[0], own[1], ip, b"one"),
            (own[0], own[1], ip, b"two"),
        ]


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("ip", ["10.77.0.1", "fd77::1"])
async def test_large_datagrams_arrive_whole_both_ways(pod: Pod, ip: str) -> None:
    async with subscribed(pod, "steal"):
        found, _ = await ask(pod, ip, "large", size=60_000)
        assert found == ["stolen " + "large".ljust(60_000, ".")]
    async with subscribed(pod, "mirror") as (_, session, _):
        await ask(pod, ip, "large", size=60_000)
        await until(lambda: session.seen, "it is copied")
        assert [len(data) for _, data in session.seen] == [60_000]


@pytest.mark.usefixtures("original")
async def test_agent_that_stalls_gives_the_port_back(pod: Pod) -> None:
    async with subscribed(pod, "steal") as (agent, _, _):
        assert (await ask(pod, "10.77.0.1", "one"))[0] == ["stolen one"]
        agent.process.send_signal(signal.SIGSTOP)
        try:
            while True:
                try:
                    found = (await ask(pod, "10.77.0.1", "two"))[0]
                except json.JSONDecodeError:
                    continue  # it went to the agent, which does not answer
                if found == ["original two"]:
                    break
        finally:
            agent.process.send_signal(signal.SIGCONT)


@pytest.mark.usefixtures("original", "taker")
async def test_what_else_takes_the_datagrams_is_told(pod: Pod) -> None:
    async with subscribed(pod, "steal") as (_, session, stream):
        report = PortReport()
        while not report.trouble:
            report = decode_answer(PortReport, (await stream.read()).splitlines()[0])
        found = f"a datagram to 10.77.0.1:{PORT} does not come to the agent: something else in the pod diverts it"
        assert report.trouble == found
        assert session.seen == []


@pytest.mark.usefixtures("original")
async def test_second_session_is_refused(pod: Pod) -> None:
    async with subscribed(pod, "steal"), running_agent("--pid", str(pod.pid)) as other:
        with pytest.raises(StreamRefused) as caught:
            await other.tunnel.ask(encode(Subscribe(PORT, "steal", protocol="udp")))
        assert "another session steals UDP port" in decode_answer(Refusal, caught.value.payload).reason
