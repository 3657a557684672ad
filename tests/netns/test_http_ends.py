"""Requests of a port with a filter, where somebody takes his time or is gone."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from inpod.agent.incoming.redirect.connections import connections
from inpod.tunnel.streams import Stream
from tests.netns.bpf_links import count_links
from tests.netns.conftest import running_agent
from tests.netns.program import Program, agent_beside, subscribe, until
from tests.netns.test_steal_faults import ONLY_GETS
from tests.netns.traffic import POD_IPV4, Hosts, Original, two_hosts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT = 8080
SYN_SENT = 1 << 2
GET = b"GET / HTTP/1.1\r\nHost: pod\r\n\r\n"
ANSWER_BYTES = 4 * 1024 * 1024


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        yield hosts


async def test_session_has_its_request_though_the_original_takes_no_connections(hosts: Hosts) -> None:
    with hosts.pod.listen("::", PORT, backlog=0), hosts.pod.connect(POD_IPV4, PORT):  # nothing has room behind this one
        program = Program()
        program.is_greeting = False
        async with agent_beside(hosts, program) as agent:
            await subscribe(agent, PORT, "steal", ONLY_GETS)
            with await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT) as client:
                await until(
                    lambda: hosts.pod.inside(lambda: connections(SYN_SENT, peer_port=PORT)), "the original is called"
                )
                client.sendall(GET)
                # The program answers with what it was asked, in less than the agent waits for the original.
                assert await asyncio.to_thread(client.recv, 100) == GET


async def test_slow_client_that_still_sends_gets_the_last_answer_whole(hosts: Hosts) -> None:
    listener = hosts.pod.listen("0.0.0.0", PORT)

    def refuse() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.recv(4096)
            sock.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % ANSWER_BYTES)
            sock.sendall(bytes(ANSWER_BYTES))
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass

    def upload() -> int:
        client = hosts.client.inside(socket.socket)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        with client:
            client.connect((POD_IPV4, PORT))
            client.sendall(b"POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: 1000000000\r\n\r\n")
            got = 0
            while data := client.recv(1 << 16):
                got += len(data)
                client.sendall(b"still sending")
                time.sleep(0.1)  # a slow line
            return got

    with listener:
        refusing = threading.Thread(target=refuse)
        refusing.start()
        async with agent_beside(hosts, Program()) as agent:
            await subscribe(agent, PORT, "steal", ONLY_GETS)
            assert await asyncio.to_thread(upload) > ANSWER_BYTES
        await asyncio.to_thread(refusing.join)


async def test_kept_connection_outlives_the_port_that_it_came_by(hosts: Hosts) -> None:
    def answer(stream: Stream, head: bytes) -> None:
        stream.accept()
        stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nprogram")

    original = Original(hosts.pod, "::", PORT)
    async with running_agent("--netns", hosts.pod.path, on_stream=answer) as agent:
        subscription = await subscribe(agent, PORT, "steal", ONLY_GETS)
        with await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT) as client:
            client.sendall(GET)
            assert (await asyncio.to_thread(client.recv, 100)).endswith(b"program")
            subscription.refuse()
            await until(lambda: count_links(hosts.pod.inode) == 0, "the port is given back")
            client.sendall(b"POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: 0\r\n\r\n")
            assert (await asyncio.to_thread(client.recv, 100)).startswith(b"original\n")
    original.close()
