"""Mirroring by the real agent: exact copies, while the original serves as if nobody looked."""

import asyncio
import hashlib
import os
import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.protocol.agent import PROTOCOL_VERSION, Address, Hello, PortReport, Refusal, decode_answer, encode
from inpod.tunnel.streams import Stream, StreamRefused
from tests.netns.conftest import Agent
from tests.netns.program import Program, agent_beside, subscribe, until
from tests.netns.traffic import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    POD_IPV4,
    POD_IPV6,
    Hosts,
    Netns,
    Original,
    close_with_reset,
    two_hosts,
    wait_until,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

PORT = 8080
MIB = 1024 * 1024
BULK_BYTES = 100 * MIB
PATTERN = bytes(range(251)) * 4177
"""About 1 MiB, of a length that is no power of two: a lost or doubled piece of any usual size shows."""

LAG_BYTES = 16 * MIB
"""How far the original lets the copy fall behind: less than what the kernel keeps for the agent."""

UPLOAD_LIMIT_S = 40.0

AGENT_GROWTH_LIMIT = 260 * MIB
"""What waits for one program, the kernel's packet memory, and an interpreter's generosity."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        original = Original(hosts.pod, "::", PORT)
        yield hosts
        original.close()


def call(netns: Netns, ip: str, data: bytes, port: int = PORT) -> tuple[bytes, Address]:
    """Send `data` and EOF; return all that comes back, and where the call came from."""
    with netns.connect(ip, port) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(1 << 16):
            answer += piece
        return answer, Address(*sock.getsockname()[:2])


@pytest.mark.parametrize(
    ("ip", "peer"),
    [
        (POD_IPV4, CLIENT_IPV4),
        (POD_IPV6, CLIENT_IPV6),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        (POD_IPV4, POD_IPV4),
        (POD_IPV6, POD_IPV6),
    ],
)
async def test_copy_is_exact_and_the_original_answers(hosts: Hosts, ip: str, peer: str) -> None:
    program = Program()
    netns = hosts.client if peer in (CLIENT_IPV4, CLIENT_IPV6) else hosts.pod
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        data = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + os.urandom(20_000)
        answer, source = await asyncio.to_thread(call, netns, ip, data)
        assert answer == b"original\n" + data
        taken = await program.heard(data)
        await until(lambda: taken.ended, "the copy ends")
        assert taken.ended == "eof"
        assert len(program.taken) == 1
        assert (taken.request.mode, taken.request.port) == ("mirror", PORT)
        assert taken.request.peer == source
        assert taken.request.peer.ip == peer
        assert taken.request.local == Address(ip, PORT)


@pytest.mark.parametrize("has_uvloop", [True, False])
async def test_many_connections_at_once(hosts: Hosts, without_uvloop: dict[str, str], *, has_uvloop: bool) -> None:
    program = Program()
    async with agent_beside(hosts, program, env=None if has_uvloop else without_uvloop) as agent:
        await subscribe(agent, PORT, "mirror")
        pieces = [os.urandom(500) + bytes([i]) * 50_000 for i in range(40)]
        answers = await asyncio.gather(
            *(asyncio.to_thread(call, hosts.client, (POD_IPV4, POD_IPV6)[i % 2], p) for i, p in enumerate(pieces))
        )
        assert [answer for answer, _ in answers] == [b"original\n" + piece for piece in pieces]
        await until(lambda: all_ended(program, 40), "all copied")
        assert sorted(bytes(taken.heard) for taken in program.taken) == sorted(pieces)


def all_ended(program: Program, count: int) -> bool:
    return len(program.taken) == count and all(taken.ended for taken in program.taken)


def upload(sock: socket.socket, size: int) -> str:
    """Send `size` patterned bytes, read up to EOF, and return the hash of what was sent."""
    digest = hashlib.sha256()
    for at in range(0, size, len(PATTERN)):
        piece = PATTERN[: size - at]
        sock.sendall(piece)
        digest.update(piece)
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(1 << 18):
        pass
    sock.close()
    return digest.hexdigest()


@pytest.mark.parametrize("ip", [POD_IPV4, POD_IPV6])
async def test_large_upload_is_copied_exactly(hosts: Hosts, ip: str) -> None:
    program = Program()

    def keep_near(size: int) -> None:
        # As a network would: on one machine a caller is faster than any copy of it.
        wait_until(lambda: not program.taken or size - program.taken[0].size < LAG_BYTES, "the copy follows")

    original = Original(hosts.pod, "::", PORT + 1, may_read=keep_near, is_echoing=False)
    try:
        async with agent_beside(hosts, program) as agent:
            await subscribe(agent, PORT + 1, "mirror")
            sock = await asyncio.to_thread(hosts.client.connect, ip, PORT + 1, UPLOAD_LIMIT_S)
            sent = await asyncio.to_thread(upload, sock, BULK_BYTES)
            await until(lambda: program.taken[0].ended, "the copy ends")
            taken = program.taken[0]
            assert (taken.ended, taken.size, taken.digest.hexdigest()) == ("eof", BULK_BYTES, sent)
    finally:
        original.close()


async def test_program_that_does_not_read_slows_nobody(hosts: Hosts) -> None:
    original = Original(hosts.pod, "::", PORT + 1, is_echoing=False)
    program = Program()
    try:
        async with agent_beside(hosts, program) as agent:
            subscription = await subscribe(agent, PORT + 1, "mirror")
            await subscribe(agent, PORT, "mirror")
            before = resident_bytes(agent.process.pid)
            program.may_read.clear()
            sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT + 1, UPLOAD_LIMIT_S)
            await asyncio.to_thread(upload, sock, 4 * BULK_BYTES)
            assert resident_bytes(agent.process.pid) - before < AGENT_GROWTH_LIMIT
            async with asyncio.timeout(10):
                line = await subscription.read()
            assert decode_answer(PortReport, line.splitlines()[0]).dropped > 0
            # Its copy is cut off, others go on.
            program.may_read.set()
            await until(lambda: program.taken[0].ended, "the copy ends")
            assert program.taken[0].ended == "reset"
            assert program.taken[0].size < BULK_BYTES
            await asyncio.to_thread(call, hosts.client, POD_IPV4, b"afterwards")
            await program.heard(b"afterwards")
    finally:
        original.close()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def say(sock: socket.socket, data: bytes) -> None:
    """Send `data` and wait for its echo."""
    sock.sendall(data)
    answer = b""
    while not answer.endswith(data):
        piece = sock.recv(1 << 16)
        assert piece
        answer += piece


async def round_trip(agent: Agent) -> None:
    """See that the agent heard all that the session said."""
    await agent.tunnel.ask(encode(Hello(PROTOCOL_VERSION)))


async def test_connection_is_joined_at_its_next_request(hosts: Hosts) -> None:
    program = Program()
    first, second, third = (b"POST /%d HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody" % i for i in range(3))
    sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
    await asyncio.to_thread(say, sock, first)
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        await asyncio.to_thread(say, sock, b"rest of a body")
        await asyncio.to_thread(say, sock, second)
        await asyncio.to_thread(say, sock, third)
        sock.close()
        taken = await program.heard(second + third)
        await until(lambda: taken.ended, "the copy ends")
        assert len(program.taken) == 1


async def test_refused_copy_is_offered_again_at_the_next_request(hosts: Hosts) -> None:
    program = Program(is_listening=False)
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        # Offered at its beginning, and at each request that comes once that was refused.
        for count in (1, 2):
            await until(lambda count=count: len(program.taken) == count, "offered")  # type: ignore[misc]
            assert program.taken[-1].ended == "refused"
            await round_trip(agent)
            program.is_listening = count == 2
            await asyncio.to_thread(say, sock, b"GET /%d HTTP/1.1\r\n\r\n" % count)
        await program.heard(b"GET /2 HTTP/1.1\r\n\r\n")
        assert program.taken[-1].request.peer == program.taken[0].request.peer
        sock.close()


async def test_program_that_hangs_up_gets_the_next_request_anew(hosts: Hosts) -> None:
    program = Program()
    program.hangs_up = True
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        first, second = (b"POST /%d HTTP/1.1\r\nContent-Length: 4\r\n\r\n" % i for i in range(2))
        await asyncio.to_thread(say, sock, first)
        await program.heard(first)
        # The rest of the request still belongs to the connection that hung up.
        await asyncio.to_thread(say, sock, b"body")
        taken = await program.heard(first + b"body")
        await round_trip(agent)
        await asyncio.to_thread(say, sock, second)
        await program.heard(second)
        await until(lambda: taken.ended, "the copy ends")
        assert taken.ended == "eof"
        sock.close()


async def test_reset_is_copied_after_the_bytes(hosts: Hosts) -> None:
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        await asyncio.to_thread(say, sock, b"last words")
        close_with_reset(sock)
        taken = await program.heard(b"last words")
        await until(lambda: taken.ended, "the copy ends")
        assert taken.ended == "reset"


async def test_call_that_nobody_answers_ends(hosts: Hosts) -> None:
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT + 2, "mirror")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT + 2)
        await until(lambda: program.taken and program.taken[0].ended == "reset", "the copy ends")


async def test_ports_come_and_go_while_others_are_copied(hosts: Hosts) -> None:
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        said = b""
        streams: list[Stream] = []
        for i in range(50):
            piece = b"%d," % i * 1000
            await asyncio.to_thread(say, sock, piece)
            said += piece
            if i % 3 < 2:
                streams.append(await subscribe(agent, 20_000 + i, "mirror"))
            else:
                streams.pop(0).refuse()
        sock.close()
        assert (await program.heard(said)).request.port == PORT
        assert len(program.taken) == 1


async def test_unsubscribed_port_is_copied_no_more(hosts: Hosts) -> None:
    program = Program()
    async with agent_beside(hosts, program) as agent:
        subscription = await subscribe(agent, PORT, "mirror")
        await subscribe(agent, PORT + 1, "mirror")
        sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        await asyncio.to_thread(say, sock, b"before")
        taken = await program.heard(b"before")
        subscription.refuse()
        await until(lambda: taken.ended == "reset", "the copy ends")
        await asyncio.to_thread(say, sock, b"GET / HTTP/1.1\r\n\r\n")
        sock.close()
        # And it can be had again.
        await subscribe(agent, PORT, "mirror")
        await asyncio.to_thread(call, hosts.client, POD_IPV4, b"again")
        await program.heard(b"again")
        assert len(program.taken) == 2


async def test_as_many_ports_as_allowed(hosts: Hosts) -> None:
    program = Program()
    async with agent_beside(hosts, program) as agent:
        for port in [*range(30_000, 30_127), PORT]:
            await subscribe(agent, port, "mirror")
        for ip in (POD_IPV4, POD_IPV6):
            await asyncio.to_thread(call, hosts.client, ip, ip.encode())
            await program.heard(ip.encode())
        with pytest.raises(StreamRefused) as caught:
            await subscribe(agent, 40_000, "mirror")
        assert "128 ports" in decode_answer(Refusal, caught.value.payload).reason


async def test_what_passes_through_is_not_the_pods(hosts: Hosts) -> None:
    hosts.pod.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    hosts.pod.run("ip", "route", "add", "unreachable", "10.99.0.0/16")
    hosts.client.run("ip", "route", "add", "10.99.0.0/16", "via", POD_IPV4)
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        with pytest.raises(OSError, match="No route to host"):
            await asyncio.to_thread(hosts.client.connect, "10.99.0.1", PORT)
        await asyncio.to_thread(call, hosts.client, POD_IPV4, b"for the pod")
        await program.heard(b"for the pod")
        assert len(program.taken) == 1


FIN, SYN, ACK = 1, 2, 16

HOP_BY_HOP = (socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
"""An IPv6 extension header that holds padding."""


@pytest.mark.parametrize(
    ("ip", "ancillary"), [(POD_IPV4, []), (POD_IPV6, []), (POD_IPV6, [HOP_BY_HOP])], ids=["IPv4", "IPv6", "options"]
)
async def test_doubled_overlapping_and_disordered_segments(
    hosts: Hosts, ip: str, ancillary: list[tuple[int, int, bytes]]
) -> None:
    """Segments made by hand. Without a checksum the kernel ignores them, so nothing else is said."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    raw = hosts.client.inside(lambda: socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP))
    data, first = os.urandom(50_000), 0xFFFF_FF00

    def send(at: int, flags: int, payload: bytes = b"") -> None:
        header = struct.pack(">HHIIBBHHH", 40_000, PORT, (first + at) % 2**32, 0, 5 << 4, flags, 1000, 0, 0)
        raw.sendmsg([header + payload], ancillary, 0, (ip, 0))

    order = random.Random(7)
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        for _ in range(2):
            send(0, SYN)
        pieces = [(at, at + order.randrange(100, 1400)) for at in range(0, len(data), 100)]
        order.shuffle(pieces)
        send(1 + len(data), FIN | ACK)
        for start, end in pieces + pieces[:50]:
            send(1 + start, ACK, data[start:end])
        taken = await program.heard(data)
        await until(lambda: taken.ended, "the copy ends")
        assert taken.ended == "eof"
        assert len(program.taken) == 1
    raw.close()
