"""The self-test of mirroring: packets of the agent's own, which the copying must see and nobody else minds."""

import asyncio
import contextlib
import os
import select
import shutil
import socket
from collections.abc import Iterator

import pytest

from inpod.agent.incoming.mirror.capture import Capture
from inpod.agent.incoming.mirror.probe import Probes, send
from inpod.agent.incoming.udp_sockets import Copies
from inpod.protocol.agent import PortReport, Subscribe, decode_answer, encode
from tests.netns.program import Program, agent_beside, subscribe, until
from tests.netns.traffic import POD_IPV4, POD_IPV6, Hosts, Original, two_hosts, who_serves

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

PORT = 8080


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        original = Original(hosts.pod, "::", PORT)
        yield hosts
        original.close()


@pytest.mark.parametrize("ip", [POD_IPV4, POD_IPV6])
def test_what_is_captured_is_seen_and_the_rest_is_missed(hosts: Hosts, ip: str) -> None:
    async def look() -> tuple[bool, bool]:
        probes = Probes("tcp")
        with contextlib.closing(Capture([PORT])) as capture:
            loop = asyncio.get_running_loop()
            loop.add_reader(capture.fileno(), lambda: probes.look(capture.read()))
            send(ip, PORT, "tcp")  # it can be sent, so silence means something
            found = await probes.miss(ip, PORT), await probes.miss(ip, PORT + 1)
            loop.remove_reader(capture.fileno())
        return found

    assert hosts.pod.inside(lambda: asyncio.run(look())) == (False, True)


@pytest.mark.parametrize("ip", [POD_IPV4, POD_IPV6])
def test_datagrams_are_seen_or_missed_and_the_original_gets_none(hosts: Hosts, ip: str) -> None:
    async def look() -> tuple[bool, bool, list[socket.socket]]:
        probes = Probes("udp")
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        copies = Copies(family, PORT)
        copies.on_probe = probes.see
        with copies.sock, socket.socket(family, socket.SOCK_DGRAM) as own:
            own.bind((ip, PORT))
            loop = asyncio.get_running_loop()
            loop.add_reader(copies.sock.fileno(), copies.receive)
            send(ip, PORT, "udp")
            found = await probes.miss(ip, PORT), await probes.miss(ip, PORT + 1)
            loop.remove_reader(copies.sock.fileno())
            return *found, select.select([own], [], [], 0)[0]

    assert hosts.pod.inside(lambda: asyncio.run(look())) == (False, True, [])


@pytest.mark.skipif(shutil.which("tc") is None, reason="tc is not installed")
async def test_agent_that_sees_no_datagrams_says_so(hosts: Hosts) -> None:
    hosts.pod.run("tc", "qdisc", "add", "dev", "lo", "root", "bfifo", "limit", "1")
    async with agent_beside(hosts, Program()) as agent:
        stream = agent.tunnel.open(encode(Subscribe(PORT, "mirror", protocol="udp")))
        await stream.accepted()
        report = PortReport()
        while not report.trouble:
            report = decode_answer(PortReport, (await stream.read()).splitlines()[0])
        assert report.trouble == f"datagrams to {POD_IPV4}:{PORT} are not seen"


@pytest.mark.skipif(shutil.which("tc") is None, reason="tc is not installed")
async def test_agent_that_sees_nothing_says_so(hosts: Hosts) -> None:
    # A queue without room: loopback loses all.
    hosts.pod.run("tc", "qdisc", "add", "dev", "lo", "root", "bfifo", "limit", "1")
    program = Program()
    async with agent_beside(hosts, program) as agent:
        stream = await subscribe(agent, PORT, "mirror")
        report = decode_answer(PortReport, (await stream.read()).splitlines()[0])
        assert report.trouble.startswith(f"packets to {POD_IPV4}:{PORT} are not seen")
        # What comes from outside is copied all the same.
        assert await asyncio.to_thread(who_serves, hosts.client, POD_IPV4, PORT) == "original"
        await until(lambda: len(program.taken) == 1, "it is copied")
