"""The real agent of an ordinary user, to whom BPF is refused: it steals by nftables, as well as otherwise."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from inpod.protocol.agent import Address, Subscribe, encode
from inpod.tunnel.streams import Tunnel
from tests.netns.conftest import START_LIMIT_S, Agent, agent_command, agent_environment
from tests.netns.program import Program, subscribe, until
from tests.netns.redirects import Joined, left_behind
from tests.netns.traffic import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    LET_GO_LIMIT_S,
    POD_IPV4,
    POD_IPV6,
    Hosts,
    Netns,
    Original,
    wait_until,
    who_serves,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

PORT = 8080
SHORT_CALL_S = 0.3


@dataclass
class UserHosts(Hosts):
    """Two hosts, the pod in a user namespace.

    Attributes:
        pid: A process in the pod.
    """

    pid: int


@pytest.fixture
def hosts() -> Iterator[UserHosts]:
    command = ["unshare", "--user", "--map-root-user", "--net", "cat"]
    with contextlib.ExitStack() as undo:
        process = undo.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))
        undo.callback(process.kill)
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/net") != own, "the pod has its network")
        pod, client = Joined(process.pid), Netns()
        undo.callback(pod.close)
        undo.callback(client.close)
        client.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "v1")
        client.run("ip", "link", "set", "v1", "netns", pod.path)
        pod.run("ip", "link", "set", "v1", "name", "eth0")
        pod.run("ip", "link", "set", "lo", "up")
        for netns, ipv4, ipv6 in ((pod, POD_IPV4, POD_IPV6), (client, CLIENT_IPV4, CLIENT_IPV6)):
            netns.run("ip", "addr", "add", f"{ipv4}/24", "dev", "eth0")
            netns.run("ip", "addr", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
            netns.run("ip", "link", "set", "eth0", "up")
        undo.callback(Original(pod, "::", PORT).close)
        yield UserHosts(pod, client, process.pid)


@asynccontextmanager
async def agent_of_user(hosts: UserHosts, program: Program) -> AsyncIterator[Agent]:
    """Run an agent as a user who may do what he likes in his own namespaces, and nothing else; it may be killed."""
    ours, theirs = socket.socketpair()
    command = ["nsenter", f"--target={hosts.pid}", "--user", "--preserve-credentials"]
    command += agent_command("--fd", str(theirs.fileno()), "--netns", f"/proc/{hosts.pid}/ns/net")
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=agent_environment())  # noqa: ASYNC220  # a fork
    theirs.close()
    tunnel = Tunnel(initiator=True, on_stream=program.on_stream)
    try:
        await tunnel.attach(ours)
        yield Agent(process, tunnel)
    finally:
        tunnel.close()
        process.kill()
        await asyncio.to_thread(process.wait, START_LIMIT_S)


def serves(hosts: Hosts) -> str:
    return who_serves(hosts.client, POD_IPV4, PORT, SHORT_CALL_S)


async def test_program_gets_connections_with_their_real_addresses(hosts: UserHosts) -> None:
    program = Program()
    async with agent_of_user(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        for netns, called, peer in (
            (hosts.client, POD_IPV4, CLIENT_IPV4),
            (hosts.client, POD_IPV6, CLIENT_IPV6),
            (hosts.pod, "127.0.0.1", "127.0.0.1"),
            (hosts.pod, POD_IPV6, POD_IPV6),
        ):
            assert await asyncio.to_thread(who_serves, netns, called, PORT) == "program"
            request = program.taken[-1].request
            assert request.local == Address(called, PORT)
            assert request.peer.ip == peer


async def test_ended_subscription_gives_the_port_back_and_keeps_connections(hosts: UserHosts) -> None:
    program = Program()
    async with agent_of_user(hosts, program) as agent:
        subscription = await subscribe(agent, PORT, "steal")
        with await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT) as stolen:
            assert await asyncio.to_thread(stolen.recv, 100) == b"program\n"
            subscription.refuse()
            await until(lambda: serves(hosts) == "original", "the original serves")
            for _ in range(3):
                stolen.sendall(b"still there\n")
                assert await asyncio.to_thread(stolen.recv, 100) == b"still there\n"
            await subscribe(agent, PORT, "steal")
            await until(lambda: serves(hosts) == "program", "the program serves")
            stolen.sendall(b"and still\n")
            assert await asyncio.to_thread(stolen.recv, 100) == b"and still\n"


async def test_killed_agent_leaves_nothing(hosts: UserHosts) -> None:
    async with agent_of_user(hosts, Program()) as agent:
        await subscribe(agent, PORT, "steal")
        assert await asyncio.to_thread(left_behind, hosts.pod) > 0
        agent.process.kill()
        await until(lambda: serves(hosts) == "original", "the original serves", 1)
        await until(lambda: left_behind(hosts.pod) == 0, "nothing is left")


async def test_stopped_agent_lets_go_and_takes_again(hosts: UserHosts) -> None:
    async with agent_of_user(hosts, Program()) as agent:
        await subscribe(agent, PORT, "steal")
        agent.process.send_signal(signal.SIGSTOP)
        start = time.monotonic()
        await until(lambda: serves(hosts) == "original", "the original serves")
        assert time.monotonic() - start < LET_GO_LIMIT_S
        agent.process.send_signal(signal.SIGCONT)
        await until(lambda: serves(hosts) == "program", "the agent takes the port again", LET_GO_LIMIT_S)


async def test_existing_connections_come_again(hosts: UserHosts) -> None:
    async with agent_of_user(hosts, Program()) as agent:
        before = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        assert await asyncio.to_thread(before.recv, 100) == b"original\n"
        await agent.tunnel.open(encode(Subscribe(PORT, "steal", flush=True))).accepted()
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(before.recv, 100)
        before.close()
        assert await asyncio.to_thread(serves, hosts) == "program"


async def test_calling_our_listener_itself_leads_nowhere(hosts: UserHosts) -> None:
    program = Program()
    async with agent_of_user(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        listening = await asyncio.to_thread(
            hosts.pod.inside, lambda: subprocess.check_output(["ss", "-Hltn"], text=True)
        )
        ports = {int(line.split()[3].rpartition(":")[2]) for line in listening.splitlines()} - {PORT}
        assert len(ports) == 2
        for port in ports:
            for ip in (POD_IPV4, POD_IPV6):
                assert await asyncio.to_thread(who_serves, hosts.client, ip, port) in (
                    "EOF",
                    "ECONNREFUSED",
                    "ECONNRESET",
                )
        assert not program.taken
