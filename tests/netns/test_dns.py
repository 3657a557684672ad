"""Names as the pod resolves them, asked of a real agent; the names are those of `pod.NAMES`."""

import asyncio
import socket

import pytest

from inpod.protocol.agent import Resolve, Resolved, decode_answer, encode
from inpod.tunnel.streams import Tunnel
from tests.netns.conftest import Pod, running_agent


async def resolve(tunnel: Tunnel, name: str, family: int = 0) -> Resolved:
    return decode_answer(Resolved, await tunnel.ask(encode(Resolve(name, family))))


@pytest.mark.parametrize(
    ("name", "family", "addresses", "canonical"),
    [
        ("inhosts", 0, ["fd01::1", "10.1.1.1"], "inhosts.example"),
        ("INHOSTS", socket.AF_INET, ["10.1.1.1"], "inhosts.example"),
        ("localhost", socket.AF_INET6, ["::1"], "localhost"),
        ("web", 0, ["fd02::1", "10.2.0.1"], "web.default.test"),
        ("web", socket.AF_INET, ["10.2.0.1"], "web.default.test"),
        ("api", 0, ["10.2.0.2"], "api.svc.test"),
        ("a.b", 0, ["10.2.0.5"], "a.b.default.test"),
        ("a.b.", 0, ["10.2.0.6"], "a.b"),
        ("alias.test", 0, ["10.2.0.1"], "web.default.test"),
        ("v6only.test", 0, ["fd02::6"], "v6only.test"),
        ("spoof.test", 0, ["10.2.0.8"], "spoof.test"),
        ("half.test", socket.AF_INET, ["10.2.0.7"], "half.test"),
        ("10.9.8.7", 0, ["10.9.8.7"], "10.9.8.7"),
        ("pod.test", 0, ["fd77::1", "10.77.0.1", "10.64.0.1"], "pod.test"),
    ],
)
async def test_found(pod: Pod, name: str, family: int, addresses: list[str], canonical: str) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        found = await resolve(agent.tunnel, name, family)
    # Addresses without a route have no order among the families that would matter.
    assert (sorted(found.addresses), found.failure, found.canonical) == (sorted(addresses), "", canonical)
    if name == "pod.test":
        assert found.addresses == addresses, "those with a route come first"


async def test_answer_that_does_not_fit_a_datagram_comes_by_tcp(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        found = await resolve(agent.tunnel, "big.test.", socket.AF_INET)
    assert found.addresses == [f"10.3.0.{i}" for i in range(100)]


@pytest.mark.parametrize(
    ("name", "family", "failure"),
    [
        ("nope", 0, "noname"),
        ("nope.example.", 0, "noname"),
        ("v6only.test", socket.AF_INET, "nodata"),
        ("::1", socket.AF_INET, "noname"),
        ("silent.test.", 0, "again"),
        ("servfail.test.", 0, "again"),
        ("", 0, "noname"),
        ("a..b", 0, "noname"),
        ("a" * 300, 0, "noname"),
        ("\udcff\0", 0, "noname"),
    ],
)
async def test_not_found(pod: Pod, name: str, family: int, failure: str) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        assert await resolve(agent.tunnel, name, family) == Resolved(failure=failure)


async def test_silent_server_does_not_hold_up_other_questions(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent, asyncio.TaskGroup() as group:
        silent = [group.create_task(resolve(agent.tunnel, "silent.test.")) for _ in range(20)]
        assert (await resolve(agent.tunnel, "web")).failure == ""
        assert not any(task.done() for task in silent)


async def test_without_uvloop(pod: Pod, without_uvloop: dict[str, str]) -> None:
    async with running_agent("--pid", str(pod.pid), env=without_uvloop) as agent:
        assert (await resolve(agent.tunnel, "web", socket.AF_INET)).addresses == ["10.2.0.1"]
        assert len((await resolve(agent.tunnel, "big.test.", socket.AF_INET)).addresses) == 100
