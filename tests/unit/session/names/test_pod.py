"""Names of a session: a real tunnel, the agent's own resolver and a name server of ours on loopback; both loops."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from inpod.agent.dispatch import Abilities
from inpod.agent.target import Target
from inpod.config.outgoing import Way
from inpod.dns.resolver import Resolver
from inpod.protocol.layer import Addr, Connect, Name, Resolve, Resolved, encode_reply
from inpod.session.events import Events
from inpod.session.names import pod as dns
from inpod.session.names.pod import Names
from inpod.session.outgoing.destinations import Destinations
from tests.unit.tunnel.conftest import Run
from tests.unit.udp import agent_tunnel

A, PTR = 1, 12


class Server(asyncio.DatagramProtocol):
    """Answers 10.0.0.N to the Nth question for an A record, of AAAA that there is none, pod.svc for any address but .99."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self.questions = 0
        self.to: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.to = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        assert self.to is not None
        (kind,) = struct.unpack(">H", data[-4:-2])
        value = {A: bytes([10, 0, 0, self.questions + 1]), PTR: b"\x03pod\x03svc\0"}.get(kind)
        if kind == PTR and b"\x0299" in data:
            value = None
        self.questions += kind in (A, PTR)
        record = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, self.ttl, len(value)) + value if value else b""
        head = struct.pack(">HHHHH", 0x8180, 1, int(value is not None), 0, 0)
        self.to.sendto(data[:2] + head + data[12:] + record, sender)


@asynccontextmanager
async def names(ttl: int) -> AsyncIterator[tuple[Names, Server]]:
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Server(ttl), local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    abilities = Abilities(Target("this machine"))
    abilities.resolver = Resolver(
        lambda name: b"nameserver 127.0.0.1" if name == "resolv.conf" else b"10.9.9.9 host", port=port
    )
    try:
        async with agent_tunnel(abilities) as tunnel:
            yield Names(lambda: tunnel), server
    finally:
        transport.close()


async def ask(names: Names, name: str, family: int = 0) -> str:
    reply = names.answer(Resolve(family, name))
    reply = reply if isinstance(reply, bytes) else await reply
    return socket.inet_ntoa(reply[17:21])


def test_an_answer_is_kept_as_long_as_it_holds(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with names(ttl=60) as (subject, server):
            assert [await ask(subject, "db") for _ in range(3)] == ["10.0.0.1"] * 3
            assert await subject.resolve("db") == ["10.0.0.1"]
            assert await ask(subject, "db", 4) == "10.0.0.2"  # another question
            assert await ask(subject, "web") == "10.0.0.3"
            assert server.questions == 3
            monkeypatch.setattr(dns, "KEPT_S", 0.0)
            assert await ask(subject, "cache") == "10.0.0.4"
            assert await ask(subject, "cache") == "10.0.0.5"

    run(main)


def test_what_is_not_to_be_kept_is_asked_each_time(run: Run) -> None:
    async def main() -> None:
        async with names(ttl=0) as (subject, server):
            assert [await ask(subject, "db"), await ask(subject, "db")] == ["10.0.0.1", "10.0.0.2"]
            assert [await ask(subject, "host"), await ask(subject, "host")] == ["10.9.9.9"] * 2
            assert server.questions == 2

    run(main)


def test_address_has_the_name_that_the_pod_knows(run: Run) -> None:
    async def main() -> None:
        async with names(ttl=60) as (subject, server):

            async def name_of(ip: str) -> bytes:
                reply = subject.answer(Name(Addr.of(ip, 0).ip))
                return reply if isinstance(reply, bytes) else await reply

            assert (await name_of("10.9.9.9")).endswith(b"host")  # of the hosts file
            assert server.questions == 0
            for _ in range(2):
                assert await name_of("10.1.2.3") == encode_reply(0, Resolved((), "pod.svc"))
            assert server.questions == 1
            assert await name_of("fd00::1") == encode_reply(0, Resolved((), "pod.svc"))
            assert await name_of("10.1.2.99") == encode_reply(dns.EAI["nodata"])

    run(main)


def test_no_more_than_so_many_are_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "MAX_KEPT", 2)

    async def main() -> None:
        async with names(ttl=60) as (subject, server):
            for name in ("a", "b", "c"):
                await ask(subject, name)
            assert await ask(subject, "c") == "10.0.0.3"
            assert await ask(subject, "a") == "10.0.0.4"
            assert server.questions == 4

    run(main)


def test_destination_is_what_its_name_stands_for(run: Run) -> None:
    async def main() -> None:
        async with names(ttl=60) as (subject, _):
            to = Addr.of("10.9.9.9", 80)
            other = Addr.of("10.9.9.8", 80)
            for way, leaves in (
                (Way(remote=("* name:host *",)), True),
                (Way(remote=("tcp name:host 80", "* 10.0.0.0/8 443")), True),
                (Way(remote=("udp name:host *",)), False),
                (Way(remote=("* name:host 81",)), False),
                (Way(local=("* name:host *",)), False),
                (Way(local=("* name:host 81",)), True),
                (Way(remote=("* name:host *",), names=False), False),
            ):
                destinations = Destinations(way, subject.resolve, Events())
                assert await _decided(destinations, to) == leaves, way
                assert await _decided(destinations, other) == (way.remote == ()), way

    run(main)


async def _decided(destinations: Destinations, to: Addr) -> bool:
    """Return whether the socket came to who connects it; else it has to be closed."""
    program = socket.socket()
    taken: list[int] = []

    def connect(request: Connect, fd: int) -> bytes:
        taken.append(fd)
        return b"connected"

    reply = await destinations.decide(Connect(1, to, is_undecided=True), program.detach(), connect)
    for fd in taken:
        socket.socket(fileno=fd).close()
    assert (reply == b"connected") == bool(taken)
    return bool(taken)
