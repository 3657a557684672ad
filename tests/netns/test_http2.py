"""Streams of HTTP/2 on a filtered port, with real clients and servers in a network namespace: gRPC, Node, curl, h2load."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inpod.agent.incoming.http.connection import serve
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2 import serve_http2
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream, Tunnel
from tests.netns.http2_programs import COMMANDS, GRPC_CLIENT, JAVA_CLIENT, NODE_BULK, NODE_CLIENT
from tests.netns.languages import command
from tests.netns.test_http import Filters, Session, fresh_netns
from tests.netns.traffic import Netns, wait_until
from tests.packages import need

PORT, ORIGINAL_PORT, PROGRAM_PORT = 8000, 8001, 8002
URL = f"http://127.0.0.1:{PORT}"
MIB = 1024 * 1024
CLIENT_LIMIT_S = 90.0
END_LIMIT_S = 10.0


@pytest.fixture
def netns() -> Iterator[Netns]:
    with fresh_netns() as netns:
        yield netns


@contextmanager
def running(netns: Netns, kind: str, name: str, port: int) -> Iterator[None]:
    """Run a server until the end of the block."""
    need(COMMANDS[kind][0])
    arguments = ["/var/empty", str(port)] if kind == "http.server" else [name, str(port)]
    process = netns.inside(lambda: subprocess.Popen([*COMMANDS[kind], *arguments], stderr=subprocess.DEVNULL))

    def is_listening() -> bool:
        assert process.poll() is None
        try:
            netns.connect("127.0.0.1", port).close()
        except OSError:
            return False
        return True

    try:
        wait_until(is_listening, f"{kind} listens")
        yield
    finally:
        process.terminate()
        process.wait(END_LIMIT_S)


@contextmanager
def both(netns: Netns, kind: str) -> Iterator[None]:
    """Run an original and a program."""
    with running(netns, kind, "original", ORIGINAL_PORT), running(netns, kind, "program", PROGRAM_PORT):
        yield


@dataclass
class Served:
    """A served port.

    Attributes:
        connections: How many clients came.
        opened: Connections to the original and to the program.
    """

    netns: Netns
    counts: Counts = field(default_factory=Counts)
    connections: int = 0
    opened: list[int] = field(default_factory=list)

    async def client(self, *command: str) -> str:
        """Return what a client prints that ends well."""
        code, text = await self.run(*command)
        assert code == 0, text
        return text

    async def run(self, *command: str) -> tuple[int, str]:
        """Return how a client ends, and what it prints."""
        process = self.netns.inside(
            lambda: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        try:
            text, _ = await asyncio.to_thread(process.communicate, None, CLIENT_LIMIT_S)
        finally:
            process.kill()
            process.wait(END_LIMIT_S)
        return process.returncode, text

    async def curl(self, *arguments: str) -> str:
        return await self.client("curl", "--silent", "--show-error", "--http2-prior-knowledge", *arguments)

    async def connect(self, port: int) -> socket.socket:
        self.opened.append(port)
        sock = self.netns.inside(socket.socket)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        return sock


@asynccontextmanager
async def served(netns: Netns) -> AsyncIterator[Served]:
    """Serve PORT, with the original behind it and the program behind a tunnel."""
    loop = asyncio.get_running_loop()
    here = Served(netns)
    listener = netns.listen("127.0.0.1", PORT)
    listener.setblocking(False)
    ours, theirs = socket.socketpair()
    async with asyncio.TaskGroup() as group:

        async def bridge(stream: Stream) -> None:
            sock = await here.connect(PROGRAM_PORT)
            stream.accept()
            await relay(stream, sock)

        def on_stream(stream: Stream, _: bytes) -> None:
            group.create_task(bridge(stream))

        far = Tunnel(initiator=False, on_stream=on_stream)
        near = Tunnel(initiator=True, on_stream=lambda stream, _: None)
        await far.attach(theirs)
        await near.attach(ours)
        filters = Filters(Session(near))

        async def accept() -> None:
            while True:
                sock, _ = await loop.sock_accept(listener)
                sock.setblocking(False)
                here.connections += 1
                group.create_task(serve(sock, filters, lambda: here.connect(ORIGINAL_PORT), here.counts, serve_http2))

        accepting = group.create_task(accept())
        try:
            yield here
        finally:
            accepting.cancel()
            listener.close()
            near.close()
            far.close()


async def test_grpc_calls_of_one_channel_are_decided_one_by_one(netns: Netns) -> None:
    with both(netns, "grpc"):
        async with served(netns) as here:
            assert json.loads(await here.client(sys.executable, "-c", GRPC_CLIENT, str(PORT))) == []
            assert (here.counts.seen, here.counts.matched, here.counts.passed) == (202, 101, 101)
            assert (here.connections, sorted(here.opened)) == (1, [ORIGINAL_PORT, PROGRAM_PORT])


async def test_node_s_streams_are_decided_one_by_one_and_taken_back(netns: Netns) -> None:
    with both(netns, "node"):
        async with served(netns) as here:
            assert json.loads(await here.client("node", "-e", NODE_CLIENT, URL, "1000")) == []
            assert here.connections == 1
            assert here.counts.matched + here.counts.passed <= here.counts.seen <= 1000
            assert here.counts.seen >= 900


@pytest.mark.parametrize("mine", [False, True], ids=["original", "program"])
async def test_100_mib_are_exact_with_a_slow_reader(netns: Netns, mine: bool) -> None:
    size = 100 * MIB
    with both(netns, "node"):
        async with served(netns) as here:
            told = json.loads(await here.client("node", "-e", NODE_BULK, URL, str(size), "1" if mine else "0"))
            name = "program" if mine else "original"
            assert told["up"] == [name, "PUT", "/up", size, told["sent"]]
            assert (told["who"], told["count"]) == (name, size)
            assert told["got"] == told["trailer"]


async def test_curl_and_filters_that_look_at_the_body(netns: Netns) -> None:
    with both(netns, "node"):
        async with served(netns) as here:
            for body, name in (("this is mine", "program"), ("this is not", "original")):
                text = await here.curl("--data", body, f"{URL}/body/1")
                assert json.loads(text)[:4] == [name, "POST", "/body/1", len(body)]
            # Two on one connection, of which the second is for another.
            text = await here.curl(f"{URL}/a", "--next", "--silent", "--header", "X-Mine: 1", f"{URL}/b")
            answers = text.replace("][", "]\n[").splitlines()
            assert [json.loads(answer)[0] for answer in answers] == ["original", "program"]
            assert here.connections == 3


@pytest.mark.parametrize("mine", [False, True], ids=["original", "program"])
async def test_h2load_loses_nothing(netns: Netns, mine: bool) -> None:
    need("h2load")
    with both(netns, "node"):
        async with served(netns) as here:
            header = ["--header", "x-mine: 1"] if mine else []
            text = await here.client("h2load", "-n", "4000", "-c", "8", "-m", "60", *header, f"{URL}/a")
            assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in text
            assert (here.counts.matched if mine else here.counts.passed) == 4000


async def test_requests_go_on_one_by_one_though_curl_offers_http2(netns: Netns) -> None:
    with both(netns, "hypercorn"):
        # It would take the offer.
        direct = Served(netns)
        offering = ["--silent", "--show-error", "--http2"]
        assert await direct.client("curl", *offering, f"http://127.0.0.1:{ORIGINAL_PORT}/a") == "original 2 /a\n"
        async with served(netns) as here:
            mine = ["--header", "X-Mine: 1"]
            asked = [f"{URL}/a", "--next", *offering, *mine, f"{URL}/b", "--next", *offering, f"{URL}/c"]
            text = await here.client("curl", *offering, *asked)
            assert text.splitlines() == ["original 1.1 /a", "program 1.1 /b", "original 1.1 /c"]
            assert (here.connections, here.counts.whole) == (1, 0)


async def test_requests_go_on_one_by_one_though_java_offers_http2(netns: Netns, tmp_path: Path) -> None:
    program = await asyncio.to_thread(command, "java", tmp_path, JAVA_CLIENT)
    with both(netns, "hypercorn"):
        async with served(netns) as here:
            text = await here.client(*program, URL, "6")
            assert text.splitlines() == [f"{name} 1.1 /{n}" for n, name in enumerate(["original", "program"] * 3)]
            assert (here.connections, here.counts.whole) == (1, 0)


async def test_program_without_http2_ends_its_own_requests(netns: Netns) -> None:
    with ExitStack() as undo:
        undo.enter_context(running(netns, "node", "original", ORIGINAL_PORT))
        undo.enter_context(running(netns, "http.server", "program", PROGRAM_PORT))
        async with served(netns) as here:
            code, _ = await here.run("curl", "--silent", "--http2-prior-knowledge", "--header", "X-Mine: 1", f"{URL}/a")
            assert code == 92  # CURLE_HTTP2_STREAM
            assert json.loads(await here.curl(f"{URL}/a"))[0] == "original"


async def test_original_that_is_not_there_ends_its_requests_only(netns: Netns) -> None:
    with running(netns, "node", "program", PROGRAM_PORT):
        async with served(netns) as here:
            code, _ = await here.run("curl", "--silent", "--http2-prior-knowledge", f"{URL}/a")
            assert code == 56  # curl's word for a stream that was refused
            assert json.loads(await here.curl("--header", "X-Mine: 1", f"{URL}/a"))[0] == "program"
