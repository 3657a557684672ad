"""HTTP/2 on a mirrored port with a filter, for a program that stands still: nobody waits for it, and what waits is bounded."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inpod.agent.incoming.mirror.copy import COPY_BYTES
from inpod.config.http_filter import HttpFilter
from inpod.protocol.agent import PREFACE, PortReport, Subscribe, decode_answer, encode
from inpod.session.incoming.http_filter import compile_filter
from inpod.tunnel.streams import Stream
from tests.netns.conftest import Agent
from tests.netns.http2_recorders import COMMANDS, NODE_CLIENT
from tests.netns.program import Program, agent_beside, until
from tests.netns.test_mirror import AGENT_GROWTH_LIMIT, resident_bytes
from tests.netns.traffic import POD_IPV4, Hosts, two_hosts, wait_until
from tests.packages import need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

PORT = 8080
MIB = 1024 * 1024
REQUESTS = 20
LARGE_BYTES = COPY_BYTES + 20 * MIB
"""Of request 4, which does not match, and 14, which does."""

CLIENT_LIMIT_S = 50.0
END_LIMIT_S = 10.0


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """A pod with a server of HTTP/2, which tells into a file."""
    need("node")
    with two_hosts() as hosts, running(hosts, tmp_path / "told"):
        wait_until((tmp_path / "told").read_text, "the original serves")
        yield hosts


@contextmanager
def running(hosts: Hosts, path: Path) -> Iterator[None]:
    with path.open("w") as file:
        process = hosts.pod.inside(lambda: subprocess.Popen([*COMMANDS["node"], str(PORT), "{}"], stdout=file))
    try:
        yield
    finally:
        process.terminate()
        process.wait(END_LIMIT_S)


async def subscribe(agent: Agent) -> Stream:
    rules = compile_filter(HttpFilter(header_filter="^x-mine: 1$"))
    stream = agent.tunnel.open(encode(Subscribe(PORT, "mirror", rules)))
    await stream.accepted()
    return stream


async def ask(hosts: Hosts, largest: int) -> None:
    """Make requests on one connection, of which every second pair is matched; returns once all are answered."""
    command = ["node", "-e", NODE_CLIENT, f"http://{POD_IPV4}:{PORT}", str(REQUESTS), str(largest)]
    process = hosts.client.inside(lambda: subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        text, _ = await asyncio.to_thread(process.communicate, None, CLIENT_LIMIT_S)
    finally:
        process.kill()
        process.wait(END_LIMIT_S)
    assert (process.returncode, text) == (0, "")


async def test_program_that_stands_still_slows_nobody(hosts: Hosts, tmp_path: Path) -> None:
    program = Program()
    program.may_read.clear()
    program.is_greeting = False
    async with agent_beside(hosts, program) as agent:
        subscription = await subscribe(agent)
        before = resident_bytes(agent.process.pid)
        await ask(hosts, LARGE_BYTES)
        assert resident_bytes(agent.process.pid) - before < AGENT_GROWTH_LIMIT
        async with asyncio.timeout(10):
            while not any(decode_answer(PortReport, line).dropped for line in (await subscription.read()).splitlines()):
                pass
        told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
        whole = {request["path"] for request in told if request.get("isWhole") and request["size"] == LARGE_BYTES}
        assert whole == {"/4", "/14"}
        # What came before did not go, so the program still has to say that it takes more.
        await until(lambda: program.taken, "offered")
        program.may_read.set()
        await until(lambda: program.taken[0].heard.startswith(PREFACE), "heard")
        assert len(program.taken) == 1
        # Others go on.
        await ask(hosts, 1000)
        await until(lambda: len(program.taken) == 2 and program.taken[1].heard.startswith(PREFACE), "heard")
