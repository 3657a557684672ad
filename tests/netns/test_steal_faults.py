"""Stealing when the agent or the session is killed or falls silent: the pod serves as before."""

import asyncio
import contextlib
import errno
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from inpod.agent.incoming.redirect.connections import OPEN, connections
from inpod.protocol.agent import PROTOCOL_VERSION, Hello, PortReport, Refusal, decode_answer, encode
from inpod.tunnel.streams import StreamRefused, Tunnel
from tests.netns.bpf_links import count_links
from tests.netns.conftest import START_LIMIT_S, Agent, agent_command, agent_environment
from tests.netns.program import Program, agent_beside, subscribe, until
from tests.netns.redirects import TECHNIQUES, holding
from tests.netns.traffic import LET_GO_LIMIT_S, POD_IPV4, Hosts, Netns, Original, two_hosts, wait_until, who_serves

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT = 8080

SHORT_CALL_S = 0.3

ONLY_GETS: dict[str, object] = {"all": False, "clauses": [{"kind": "method", "text": "GET"}]}
"""A filter."""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        original = Original(hosts.pod, "::", PORT)
        yield hosts
        original.close()


@asynccontextmanager
async def mortal_agent(hosts: Hosts, program: Program, *, first: str = "") -> AsyncIterator[Agent]:
    """Run an agent that may be killed.

    Args:
        first: Python that it runs before all else.
    """
    ours, theirs = socket.socketpair()
    command = agent_command("--fd", str(theirs.fileno()), "--netns", hosts.pod.path, first=first)
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


def links(netns: Netns) -> int:
    return count_links(netns.inode)


async def test_killed_agent_leaves_nothing(hosts: Hosts) -> None:
    program = Program()
    async with mortal_agent(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        assert links(hosts.pod) == 1
        stolen = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        assert await asyncio.to_thread(stolen.recv, 100) == b"program\n"
        agent.process.kill()
        start = time.monotonic()
        await until(lambda: serves(hosts) == "original", "the original serves")
        assert time.monotonic() - start < 1
        await until(lambda: links(hosts.pod) == 0, "no link is left")
        # What the agent had accepted is over, and its client knows.
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(stolen.recv, 100) == b""
        stolen.close()


async def test_accepted_but_unserved_connection_ends_with_the_agent(hosts: Hosts) -> None:
    async with mortal_agent(hosts, Program()) as agent:
        await subscribe(agent, PORT, "steal")
        agent.process.send_signal(signal.SIGSTOP)
        waiting = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        agent.process.kill()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(waiting.recv, 100) == b""
        waiting.close()


async def test_ended_session_leaves_nothing(hosts: Hosts) -> None:
    async with mortal_agent(hosts, Program()) as agent:
        await subscribe(agent, PORT, "steal")
        agent.tunnel.close()
        await until(lambda: serves(hosts) == "original", "the original serves", 1)
        await until(lambda: links(hosts.pod) == 0, "no link is left")
        assert await agent.ended() == 0


async def test_stopped_agent_lets_go_and_takes_again(hosts: Hosts) -> None:
    program = Program()
    async with mortal_agent(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        assert await asyncio.to_thread(serves, hosts) == "program"
        for _ in range(2):
            agent.process.send_signal(signal.SIGSTOP)
            start = time.monotonic()
            await until(lambda: serves(hosts) == "original", "the original serves")
            assert time.monotonic() - start < LET_GO_LIMIT_S
            agent.process.send_signal(signal.SIGCONT)
            await until(lambda: serves(hosts) == "program", "the agent takes the port again", LET_GO_LIMIT_S)


async def test_silent_session_loses_its_ports_and_has_them_again(hosts: Hosts) -> None:
    program = Program()
    async with mortal_agent(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")
        for _ in range(2):
            # Nothing is awaited here, so the session says nothing.
            assert wait_until(lambda: serves(hosts) == "original", "the original serves") < LET_GO_LIMIT_S
            await until(lambda: serves(hosts) == "program", "the session has the port again", LET_GO_LIMIT_S)


async def test_silent_sessions_port_is_free_for_another(hosts: Hosts) -> None:
    async with mortal_agent(hosts, Program()) as agent:
        await subscribe(agent, PORT, "steal")
        assert wait_until(lambda: serves(hosts) == "original", "the original serves") < LET_GO_LIMIT_S
        other = hosts.pod.inside(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        other.bind(f"\0inpod/steal/tcp/{PORT}")
        heard = agent.tunnel.last_heard
        await until(lambda: agent.tunnel.last_heard > heard + 1, "the session is there again")
        assert await asyncio.to_thread(who_serves, hosts.client, POD_IPV4, PORT) == "original"
        other.close()
        await until(lambda: serves(hosts) == "program", "the session has the port again", LET_GO_LIMIT_S)


async def test_nothing_is_lost_between_two_beats(hosts: Hosts) -> None:
    """While the session lives, no connection goes to the original."""
    program = Program()
    async with mortal_agent(hosts, program) as agent:
        await subscribe(agent, PORT, "steal")

        def call_for_a_while() -> set[str]:
            end = time.monotonic() + 3
            outcomes = set()
            while time.monotonic() < end:
                outcomes.add(who_serves(hosts.client, POD_IPV4, PORT))
            return outcomes

        assert await asyncio.to_thread(call_for_a_while) == {"program"}


async def test_agent_without_descriptors_keeps_the_port_and_says_why_nothing_comes(hosts: Hosts) -> None:
    async with agent_beside(hosts, Program()) as agent:
        pid = agent.process.pid
        # What is loaded and made for the first port is not made again. Its report, that nothing listens there, comes last.
        first = await subscribe(agent, PORT + 1, "steal")
        await first.read()
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        for more in range(32):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + more, hard))
            try:
                stream = await subscribe(agent, PORT, "steal")
                break
            except StreamRefused as refused:
                why = decode_answer(Refusal, refused.payload)
                assert why.reason.endswith(os.strerror(errno.EMFILE)), f"with {more} more: {why}"
        # Just enough to have the port, and none to test it.
        report = decode_answer(PortReport, (await stream.read()).splitlines()[0])
        assert report.trouble.endswith(f":{PORT} does not come to the agent: {os.strerror(errno.EMFILE)}")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        await until(lambda: serves(hosts) == "program", "the program serves")


async def test_full_port_that_was_let_go_and_had_again_harms_no_connection_of_before(hosts: Hosts) -> None:
    full = "from inpod.agent.incoming import stolen; stolen.MAX_CONNECTIONS = 2"
    async with mortal_agent(hosts, Program(), first=full) as agent:
        # Another port, so that there is one redirect all the time.
        await subscribe(agent, PORT + 1, "steal")
        of_before = await subscribe(agent, PORT, "steal", ONLY_GETS)
        first, second = [await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT) for _ in range(2)]
        for sock in (first, second):
            assert await asyncio.to_thread(sock.recv, 100) == b"original\n"
        of_before.refuse()
        await until(lambda: serves(hosts) == "original", "the port is let go")
        await subscribe(agent, PORT, "steal")
        await until(lambda: serves(hosts) == "program", "the port is had again")
        first.close()
        await until(lambda: serves(hosts) == "program", "the port is still had")
        second.sendall(b"still there")
        assert await asyncio.to_thread(second.recv, 100) == b"still there"
        second.close()


async def test_what_a_test_finds_out_is_not_told_of_a_port_that_was_had_again_meanwhile(hosts: Hosts) -> None:
    patient = "from inpod.agent.incoming import stolen; stolen.ARRIVES_WITHIN_S = 12"
    with holding("sk_lookup", hosts.pod) as other:
        other.tell(f"steal {PORT}")
        async with mortal_agent(hosts, Program(), first=patient) as agent:
            reports = await subscribe(agent, PORT, "steal", ONLY_GETS)
            await until(lambda: own_calls(hosts.pod), "the port is tested")
            other.tell(f"pause {PORT}")
            # Nothing is awaited here, so the session says nothing.
            assert wait_until(lambda: serves(hosts) == "original", "the original serves") < LET_GO_LIMIT_S
            await until(lambda: serves(hosts) != "original", "the session has the port again", LET_GO_LIMIT_S)
            assert own_calls(hosts.pod)
            await until(lambda: not own_calls(hosts.pod), "the test is over", 30)
            with await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT) as caller:
                caller.sendall(b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n")
                report = PortReport()
                while not report.matched:
                    report = decode_answer(PortReport, (await reports.read()).splitlines()[0])
                    assert report.trouble == ""


def own_calls(pod: Netns) -> int:
    """Return how many connections to the port a process of the pod has at the pod's own address."""
    return pod.inside(lambda: sum(call.own.ip == call.peer.ip for call in connections(OPEN, peer_port=PORT)))


async def test_client_that_vanished_without_a_word_is_noticed(hosts: Hosts) -> None:
    soon = "from inpod.agent.incoming.redirect import base; base.SILENT_CLIENT_S = base.PROBE_EVERY_S = 1"
    program = Program()
    async with mortal_agent(hosts, program, first=soon) as agent:
        await subscribe(agent, PORT, "steal")
        with await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT) as gone:
            assert await asyncio.to_thread(gone.recv, 100) == b"program\n"
            hosts.client.run("ip", "link", "set", "eth0", "down")
            await until(lambda: any(taken.ended == "reset" for taken in program.taken), "the program knows")


@pytest.mark.parametrize("technique", TECHNIQUES)
async def test_who_waits_for_a_port_that_is_given_back_gets_the_original(hosts: Hosts, technique: str) -> None:
    full = "from inpod.agent.incoming import stolen; stolen.MAX_CONNECTIONS = 1"
    async with mortal_agent(hosts, Program(), first=full) as agent:
        await agent.tunnel.ask(encode(Hello(PROTOCOL_VERSION, [], technique)))  # type: ignore[arg-type]  # a parameter
        # The redirect goes on, or goes with the port.
        for also in (PORT + 1, None):
            others = [] if also is None else [await subscribe(agent, also, "steal")]
            stream = await subscribe(agent, PORT, "steal")
            # Of the port's test nothing is left.
            await until(lambda: serves(hosts) == "program", "the program serves")
            served = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
            assert await asyncio.to_thread(served.recv, 100) == b"program\n"
            waiting = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
            waiting.sendall(b"is anybody there?")
            stream.refuse()
            with served, waiting, waiting.makefile("rb") as file:
                assert await asyncio.to_thread(file.readline) == b"original\n"
            for other in others:
                other.refuse()
            await until(lambda: serves(hosts) == "original", "the original serves")
