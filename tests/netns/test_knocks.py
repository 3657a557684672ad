"""Knocks at a Service's address: they arrive or not, and nobody who listens notices them."""

import asyncio
import errno
import os
import select
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from inpod.agent.incoming.knocks import arrives
from inpod.protocol.agent import Address, Knock, Knocked, Mode, Refusal, decode_answer, encode
from inpod.tunnel.streams import StreamRefused
from tests.netns.conftest import Agent
from tests.netns.program import Program, agent_beside, subscribe, until
from tests.netns.traffic import CALL_LIMIT_S, POD_IPV4, POD_IPV6, Hosts, two_hosts
from tests.packages import need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

PORT = 8080
SERVICE_IPV4, SERVICE_IPV6 = "10.99.0.1", "fd99::1"

TRANSLATION = f"""
table inet cluster {{
    chain arriving {{
        type nat hook prerouting priority dstnat;
        ip daddr {SERVICE_IPV4} tcp dport 80 dnat ip to {POD_IPV4}:{PORT}
        ip daddr {SERVICE_IPV4} tcp dport 81 dnat ip to {POD_IPV4}:{PORT + 1}
        ip6 daddr {SERVICE_IPV6} tcp dport 80 dnat ip6 to [{POD_IPV6}]:{PORT}
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat;
        ct status dnat masquerade
    }}
}}
"""
"""As kube-proxy has it: the address called is changed, and for a pod that calls itself the caller's too."""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """A pod, and the node (`client`) by which it reaches a Service that leads back to it."""
    need("nft")
    with two_hosts() as hosts:
        pod, node = hosts.pod, hosts.client
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            node.run("sh", "-c", f"echo 1 > /proc/sys/net/{name}")
        node.inside(lambda: subprocess.run(["nft", "-f", "-"], input=TRANSLATION, text=True, check=True))
        pod.run("ip", "route", "add", "default", "via", "10.88.0.2")
        pod.run("ip", "-6", "route", "add", "default", "via", "fd88::2")
        yield hosts


async def knock(agent: Agent, ip: str, port: int, pod_port: int = PORT) -> bool:
    answer = await agent.tunnel.ask(encode(Knock(Address(ip, port), pod_port)))
    return decode_answer(Knocked, answer).arrived


@pytest.mark.parametrize("mode", ["steal", "mirror"])
async def test_arrives_where_the_service_leads_and_nobody_notices(hosts: Hosts, mode: Mode) -> None:
    program = Program()
    with hosts.pod.listen("::", PORT) as original, hosts.pod.listen("::", PORT + 1) as other:
        async with agent_beside(hosts, program) as agent:
            await subscribe(agent, PORT, mode)
            for ip in (SERVICE_IPV4, SERVICE_IPV6):
                assert await knock(agent, ip, 80)
            assert not await knock(agent, SERVICE_IPV4, 81), "it leads to another port"
            assert not await knock(agent, SERVICE_IPV4, 82), "it leads nowhere"
            # Who connects after them is the first to come.
            with hosts.client.connect(POD_IPV4, PORT) as sock:
                sock.sendall(b"a real one")
                await program.heard(b"a real one")
            assert len(program.taken) == 1
            came = select.select([original, other], [], [], 0)[0]
            assert came == ([original] if mode == "mirror" else [])
            for listener in came:
                with listener.accept()[0] as real:
                    assert real.recv(100) == b"a real one"


async def test_mirrored_connections_are_not_taken_for_knocks(hosts: Hosts) -> None:
    program = Program()
    with hosts.pod.listen("::", PORT):
        async with agent_beside(hosts, program) as agent:
            await subscribe(agent, PORT, "mirror")
            for size in (536, 639, 672):
                with hosts.client.inside(socket.socket) as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, size)
                    sock.settimeout(CALL_LIMIT_S)
                    sock.connect((POD_IPV4, PORT))
                    said = b"segments of %d bytes" % size
                    sock.sendall(said)
                    await program.heard(said)


async def test_mirrored_connection_without_any_option_is_seen(hosts: Hosts) -> None:
    program = Program()
    syn = struct.pack(">HHIIBBHHH", 30000, PORT, 1, 0, 5 << 4, 2, 1024, 0, 0)

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
            sock.sendto(syn, (POD_IPV4, 0))

    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        hosts.client.inside(send)
        await until(lambda: len(program.taken) == 1, "it is copied")


def test_the_agents_own_network_is_a_way_too(hosts: Hosts) -> None:
    hosts.pod.run("ip", "link", "set", "lo", "down")

    def look(home: int | None) -> bool:
        return hosts.pod.inside(lambda: asyncio.run(arrives(Address(POD_IPV4, PORT), PORT, home=home)))

    assert look(hosts.client.fd)
    with pytest.raises(OSError, match=os.strerror(errno.EHOSTUNREACH)):
        look(None)


async def test_who_may_not_watch_is_told_that_nobody_knows(hosts: Hosts) -> None:
    async with agent_beside(hosts, Program(), rights=["--bounding-set=-net_raw", "--inh-caps=-net_raw"]) as agent:
        with pytest.raises(StreamRefused) as refused:
            await knock(agent, SERVICE_IPV4, 80)
    assert decode_answer(Refusal, refused.value.payload).code == errno.EPERM
