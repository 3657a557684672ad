"""Names as the pod resolves them, asked of a real agent; the names are those of `pod.NAMES`."""

import asyncio
import errno
import os
import shutil
import socket

import pytest

from inpod.dns import messages
from inpod.protocol.agent import Question, Resolve, Resolved, decode_answer, encode, errno_of
from inpod.tunnel.streams import StreamRefused, Tunnel
from tests.netns.conftest import Pod, running_agent
from tests.netns.session import output_of


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
        assert await resolve(agent.tunnel, name, family) == Resolved([], failure)


async def test_silent_server_does_not_hold_up_other_questions(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent, asyncio.TaskGroup() as group:
        silent = [group.create_task(resolve(agent.tunnel, "silent.test.")) for _ in range(20)]
        assert (await resolve(agent.tunnel, "web")).failure == ""
        assert not any(task.done() for task in silent)


async def test_without_uvloop(pod: Pod, without_uvloop: dict[str, str]) -> None:
    async with running_agent("--pid", str(pod.pid), env=without_uvloop) as agent:
        assert (await resolve(agent.tunnel, "web", socket.AF_INET)).addresses == ["10.2.0.1"]
        assert len((await resolve(agent.tunnel, "big.test.", socket.AF_INET)).addresses) == 100


async def ask(tunnel: Tunnel, name: str, kind: int, *, searches: bool) -> tuple[str, int, list[str]]:
    """Return what the answer to a question of DNS says: the name that it is about, its code, its addresses."""
    query = messages.encode_query(77, messages.parse_name(name.encode()), kind)
    answer = await tunnel.fetch(encode(Question(query.decode("latin-1"), searches)))
    response = messages.decode_response(answer)
    assert response.query_id == 77
    return messages.name_text(response.name), response.code, messages.follow(response)[1]


@pytest.mark.parametrize(
    ("name", "kind", "searches", "expected"),
    [
        ("web", messages.A, True, ("web.default.test", 0, ["10.2.0.1"])),
        ("web", messages.A, False, ("web", 3, [])),
        ("api", messages.A, True, ("api.svc.test", 0, ["10.2.0.2"])),
        ("a.b", messages.A, True, ("a.b.default.test", 0, ["10.2.0.5"])),
        ("api", messages.AAAA, True, ("api.svc.test", 0, [])),
        ("nope", messages.A, True, ("nope.default.test", 3, [])),
        ("servfail.test", messages.A, False, ("servfail.test", 2, [])),
        ("half.test", messages.A, False, ("half.test", 0, ["10.2.0.7"])),
        ("spoof.test", messages.A, False, ("spoof.test", 0, ["10.2.0.8"])),
        ("big.test", messages.A, False, ("big.test", 0, [f"10.3.0.{i}" for i in range(100)])),
    ],
)
async def test_question_is_answered(
    pod: Pod, name: str, kind: int, searches: bool, expected: tuple[str, int, list[str]]
) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        assert await ask(agent.tunnel, name, kind, searches=searches) == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (messages.encode_query(1, (b"silent", b"test"), messages.A), errno.ETIMEDOUT),
        (b"", errno.EBADMSG),
        (bytes(12), errno.EBADMSG),
        (b"\0\0\0\0\0\1" + bytes(6) + b"\x03ab", errno.EBADMSG),
    ],
    ids=["silent", "nothing", "no question", "cut"],
)
@pytest.mark.parametrize("searches", [False, True])
async def test_question_is_refused(pod: Pod, query: bytes, code: int, searches: bool) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        with pytest.raises(StreamRefused) as refused:
            await agent.tunnel.fetch(encode(Question(query.decode("latin-1"), searches)))
    assert errno_of(refused.value.payload, 0) == code


@pytest.mark.skipif(shutil.which("php") is None, reason="php is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")
@pytest.mark.usefixtures("interceptor")
def test_php_asks_the_pods_servers_with_the_pods_search_list(pod: Pod) -> None:
    """Under the tracer libc's own resolver reads the pod's resolv.conf; its code is the same."""
    script = 'foreach (["web", "big.test", "nope"] as $name) echo count(dns_get_record($name, DNS_A)), " "; echo dns_get_record("web", DNS_A)[0]["ip"];'
    assert output_of(f"pid/{pod.pid}", "php", "-r", script) == "1 100 0 10.2.0.1"
