"""Stealing by the real agent: whose connections come, with which addresses, and who serves the others."""

import asyncio
import contextlib
import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.agent.incoming.redirect.connections import datagram_taker
from inpod.agent.incoming.redirect.sk_lookup import SkLookup
from inpod.protocol.agent import PROTOCOL_VERSION, Address, Hello, Refusal, Subscribe, Welcome, decode_answer, encode
from inpod.tunnel.streams import StreamRefused
from tests.netns.conftest import Agent, agent_environment
from tests.netns.program import Program, agent_beside, subscribe, until
from tests.netns.traffic import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    POD_IPV4,
    POD_IPV6,
    Hosts,
    Original,
    two_hosts,
    who_serves,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT = 8080
BULK_BYTES = 100 * 1024 * 1024


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        yield hosts


async def serves(hosts: Hosts, ip: str = POD_IPV4, port: int = PORT, *, from_pod: bool = False) -> str:
    return await asyncio.to_thread(who_serves, hosts.pod if from_pod else hosts.client, ip, port)


async def refusal(agent: Agent, request: Subscribe) -> Refusal:
    with pytest.raises(StreamRefused) as caught:
        await agent.tunnel.open(encode(request)).accepted()
    return decode_answer(Refusal, caught.value.payload)


@pytest.mark.parametrize(
    ("bound", "called"),
    [
        ("0.0.0.0", [POD_IPV4, "127.0.0.1"]),
        ("127.0.0.1", [POD_IPV4, "127.0.0.1"]),
        (POD_IPV4, [POD_IPV4, "127.0.0.1"]),
        ("::", [POD_IPV4, "127.0.0.1", POD_IPV6, "::1"]),
        ("::1", [POD_IPV6, "::1"]),
        (POD_IPV6, [POD_IPV6, "::1"]),
    ],
)
async def test_new_connections_come_with_their_addresses(hosts: Hosts, bound: str, called: list[str]) -> None:
    original = Original(hosts.pod, bound, PORT)
    program = Program()
    try:
        async with agent_beside(hosts, program) as agent:
            before = [await serves(hosts, ip, from_pod=True) for ip in called]
            stream = await subscribe(agent, PORT, "steal")
            for ip in called:
                if ip in (POD_IPV4, POD_IPV6):
                    assert await serves(hosts, ip) == "program"
                    peer = CLIENT_IPV6 if ":" in ip else CLIENT_IPV4
                    request = program.taken[-1].request
                    assert (request.mode, request.port) == ("steal", PORT)
                    assert request.local == Address(ip, PORT)
                    assert request.peer.ip == peer
                assert await serves(hosts, ip, from_pod=True) == "program"
                assert program.taken[-1].request.peer.ip == ip
            stream.refuse()
            await until(lambda: who_serves(hosts.pod, bound_address(bound), PORT) == "original", "given back")
            assert [await serves(hosts, ip, from_pod=True) for ip in called] == before
    finally:
        original.close()


def bound_address(bound: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound)


async def test_connections_stay_with_whom_they_began(hosts: Hosts) -> None:
    original = Original(hosts.pod, "::", PORT)
    try:
        async with agent_beside(hosts, Program()) as agent:
            first = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
            stream = await subscribe(agent, PORT, "steal")
            second = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
            assert await asyncio.to_thread(talk, first, b"during") == b"original\nduring"
            assert await asyncio.to_thread(talk, second, b"during") == b"program\nduring"
            stream.refuse()
            await until(lambda: who_serves(hosts.client, POD_IPV4, PORT) == "original", "given back")
            assert await asyncio.to_thread(talk, second, b"after") == b"after"
            # And the port can be had again while that connection lives.
            await subscribe(agent, PORT, "steal")
            assert await serves(hosts) == "program"
            assert await asyncio.to_thread(talk, first, b"again") == b"again"
            assert await asyncio.to_thread(talk, second, b"again") == b"again"
            for sock in (first, second):
                sock.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(sock.recv, 100) == b""
                sock.close()
    finally:
        original.close()


async def test_only_connections_to_the_targets_own_addresses_are_moved(hosts: Hosts) -> None:
    original = Original(hosts.pod, "::", PORT)
    try:
        async with agent_beside(hosts, Program()) as agent:
            await agent.tunnel.ask(encode(Hello(PROTOCOL_VERSION, addresses=[POD_IPV4])))
            own, others = [await asyncio.to_thread(hosts.client.connect, ip, PORT) for ip in (POD_IPV4, POD_IPV6)]
            for sock in (own, others):
                assert await asyncio.to_thread(sock.recv, 100) == b"original\n"
            await agent.tunnel.open(encode(Subscribe(PORT, "steal", flush=True))).accepted()
            with pytest.raises(ConnectionResetError):
                await asyncio.to_thread(own.recv, 100)
            assert [await serves(hosts, ip) for ip in (POD_IPV4, POD_IPV6)] == ["program", "original"]
            others.sendall(b"still")
            assert await asyncio.to_thread(others.recv, 100) == b"still"
            for sock in (own, others):
                sock.close()
    finally:
        original.close()


async def test_connection_that_the_session_refuses_is_reset(hosts: Hosts) -> None:
    program = Program(is_listening=False)
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        assert await serves(hosts) == "ECONNRESET"
        program.is_listening = True
        assert await serves(hosts) == "program"


async def test_many_ports_of_which_most_have_no_original(hosts: Hosts) -> None:
    original = Original(hosts.pod, "::", PORT)
    ports = range(9000, 9040)
    program = Program()
    try:
        async with agent_beside(hosts, program) as agent:
            streams = [await subscribe(agent, port, "steal") for port in ports]
            assert {await serves(hosts, port=port) for port in ports} == {"program"}
            assert [taken.request.port for taken in program.taken] == list(ports)
            assert await serves(hosts, port=PORT) == "original"
            for stream in streams[::2]:
                stream.refuse()
            await until(lambda: who_serves(hosts.client, POD_IPV4, ports[-2]) == "ECONNREFUSED", "released")
            outcomes = [await serves(hosts, port=port) for port in ports]
            assert outcomes == ["ECONNREFUSED", "program"] * (len(ports) // 2)
    finally:
        original.close()


async def test_bytes_both_ways_at_once(hosts: Hosts) -> None:
    program = Program()
    pattern = bytes(range(251)) * 4177
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)

        def send() -> None:
            for at in range(0, BULK_BYTES, len(pattern)):
                sock.sendall(pattern[: BULK_BYTES - at])
            sock.shutdown(socket.SHUT_WR)

        def receive() -> str:
            threading.Thread(target=send, daemon=True).start()
            digest = hashlib.sha256()
            assert sock.recv(8, socket.MSG_WAITALL) == b"program\n"
            while data := sock.recv(1 << 18):
                digest.update(data)
            return digest.hexdigest()

        echoed = await asyncio.to_thread(receive)
        sock.close()
        expected = hashlib.sha256((pattern * (BULK_BYTES // len(pattern) + 1))[:BULK_BYTES]).hexdigest()
        assert program.taken[0].digest.hexdigest() == expected
        assert echoed == expected


async def test_port_is_stolen_once(hosts: Hosts) -> None:
    program, other = Program(), Program()
    async with agent_beside(hosts, program) as agent, agent_beside(hosts, other) as other_agent:
        stream = await subscribe(agent, PORT, "steal")
        same = await refusal(agent, Subscribe(PORT, "mirror"))
        assert same == Refusal(errno.EADDRINUSE, f"this session has port {PORT} already")
        taken = await refusal(other_agent, Subscribe(PORT, "steal"))
        assert taken == Refusal(errno.EADDRINUSE, f"another session steals port {PORT} of this pod")
        await subscribe(other_agent, PORT + 1, "steal")
        assert await serves(hosts, port=PORT + 1) == "program"
        assert len(other.taken) == 1
        stream.refuse()
        await until_subscribed(other_agent)
        assert await serves(hosts) == "program"
        assert len(other.taken) == 2


async def until_subscribed(agent: Agent) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await subscribe(agent, PORT, "steal")
            except StreamRefused:
                continue
            return


async def test_agents_own_listener_serves_nobody(hosts: Hosts) -> None:
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        listening = hosts.pod.inside(lambda: Path("/proc/thread-self/net/tcp").read_text())
        ports = [int(line.split()[1].partition(":")[2], 16) for line in listening.splitlines()[1:] if " 0A " in line]
        assert len(ports) == 1
        assert await serves(hosts, "127.0.0.1", ports[0], from_pod=True) == "EOF"
        assert program.taken == []


@pytest.mark.parametrize("request_", [Subscribe(0, "steal"), Subscribe(65536, "mirror")])
async def test_what_is_no_port_is_refused(hosts: Hosts, request_: Subscribe) -> None:
    async with agent_beside(hosts, Program()) as agent:
        assert (await refusal(agent, request_)).code == errno.EINVAL


async def test_loopback_may_be_down_and_ipv6_off(hosts: Hosts) -> None:
    hosts.pod.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    hosts.pod.run("ip", "link", "set", "lo", "down")
    try:
        async with agent_beside(hosts, Program()) as agent:
            await subscribe(agent, PORT, "steal")
            assert await serves(hosts) == "program"
    finally:
        hosts.pod.run("ip", "link", "set", "lo", "up")
        hosts.pod.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0")
        hosts.pod.run("ip", "addr", "replace", f"{POD_IPV6}/64", "dev", "eth0", "nodad")


@pytest.mark.parametrize("ip", [POD_IPV4, POD_IPV6])
def test_kernel_tells_who_gets_a_datagram(hosts: Hosts, ip: str) -> None:
    def who() -> tuple[int, bool, bool]:
        with contextlib.ExitStack() as undo:
            before = datagram_taker(ip, PORT)
            original = undo.enter_context(
                socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
            )
            original.bind((ip, PORT))
            found = datagram_taker(ip, PORT)
            redirect = undo.enter_context(contextlib.closing(SkLookup(None, socket.IPPROTO_UDP)))
            ours = [os.fstat(sock.fileno()).st_ino for sock in redirect.steal(PORT)]
            redirect.beat()
            return before, found == os.fstat(original.fileno()).st_ino, datagram_taker(ip, PORT) in ours

    assert hosts.pod.inside(who) == (0, True, True)


async def test_missing_right_to_mirror_is_said(hosts: Hosts) -> None:
    rights = ["--inh-caps=-all", "--bounding-set=-all,+sys_admin,+sys_ptrace"]
    async with agent_beside(hosts, Program(), rights=rights) as agent:
        welcome = decode_answer(Welcome, await agent.tunnel.ask(encode(Hello(1))))
        assert {"steal", "mirror"} & welcome.cannot.keys() == {"mirror"}
        assert "CAP_NET_RAW" in welcome.cannot["mirror"]
        assert await refusal(agent, Subscribe(PORT, "mirror")) == Refusal(errno.EPERM, welcome.cannot["mirror"])
        await subscribe(agent, PORT, "steal")


@pytest.mark.parametrize(
    ("bounds", "can"), [("-all", False), ("-all,+net_admin", False), ("-all,+net_admin,+bpf", True)]
)
def test_missing_right_to_steal_is_said(bounds: str, *, can: bool) -> None:
    ask = "from inpod.agent.incoming.redirect.sk_lookup import SkLookup; print(SkLookup.probe())"
    command = ["setpriv", "--inh-caps=-all", f"--bounding-set={bounds}", sys.executable, "-c", ask]
    said = subprocess.run(command, env=agent_environment(), capture_output=True, text=True, check=True).stdout
    assert (said == "None\n") is can
    assert can or ("EPERM" in said and "CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN)" in said)


def talk(sock: socket.socket, data: bytes) -> bytes:
    """Send `data`; return what comes up to and with its echo."""
    sock.sendall(data)
    answer = b""
    while not answer.endswith(data):
        piece = sock.recv(100)
        assert piece, answer
        answer += piece
    return answer
