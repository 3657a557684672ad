"""The agent as a process: what it says of itself, of missing rights, and when it ends."""

import asyncio
import errno
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from inpod.protocol.agent import (
    PROTOCOL_VERSION,
    Address,
    Connect,
    Hello,
    LookUp,
    ReadEnv,
    ReadFile,
    Refusal,
    Resolve,
    Welcome,
    decode_answer,
    encode,
)
from inpod.protocol.listing import decode_entries
from inpod.tunnel.streams import StreamRefused, Tunnel
from tests.netns.conftest import POD_ENV, Pod, agent_command, agent_environment, running_agent, running_pod
from tests.netns.pod import ECHO_PORT, HOSTNAME

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes rights away, so it needs some")

NO_RIGHTS = ["--inh-caps=-all", "--bounding-set=-all"]
JOB_RIGHTS = ["--inh-caps=-all", "--bounding-set=-all,+sys_admin,+sys_ptrace,+net_admin,+net_raw,+dac_read_search"]


async def hello(tunnel: Tunnel) -> Welcome:
    return decode_answer(Welcome, await tunnel.ask(encode(Hello(PROTOCOL_VERSION))))


async def refusal(tunnel: Tunnel, request: bytes) -> Refusal:
    with pytest.raises(StreamRefused) as caught:
        await tunnel.ask(request)
    return decode_answer(Refusal, caught.value.payload)


async def environment(tunnel: Tunnel) -> dict[str, str]:
    found: dict[str, str] = json.loads(await tunnel.fetch(encode(ReadEnv())))
    return found


async def content(tunnel: Tunnel, path: str) -> bytes | None:
    return decode_entries(await tunnel.fetch(encode(LookUp(path, "read"))))[-1][1]


async def test_hello_tells_host_name_and_addresses(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        welcome = await hello(agent.tunnel)
    assert welcome.hostname == HOSTNAME
    assert {"10.77.0.1", "fd77::1"} <= set(welcome.addresses)
    assert not {"127.0.0.1", "::1"} & set(welcome.addresses)
    assert not {"files", "env"} & welcome.cannot.keys()


async def test_other_version_is_refused(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        refused = await refusal(agent.tunnel, encode(Hello(PROTOCOL_VERSION + 1)))
    assert refused.code == errno.EPROTO
    assert str(PROTOCOL_VERSION + 1) in refused.reason


@pytest.mark.parametrize("head", [b"", b"[]", b'{"is":"Nothing"}', b'{"is":"Resolve"}', b"\xff"])
async def test_what_is_no_request_ends_one_stream(pod: Pod, head: bytes) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        assert (await refusal(agent.tunnel, head)).code == errno.EPROTO
        await hello(agent.tunnel)


async def test_environment_is_that_of_the_pod(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        assert await environment(agent.tunnel) == POD_ENV


async def test_without_uvloop(pod: Pod, without_uvloop: dict[str, str]) -> None:
    async with running_agent("--pid", str(pod.pid), env=without_uvloop) as agent:
        await hello(agent.tunnel)
        assert await environment(agent.tunnel) == POD_ENV


async def test_no_such_process_is_said() -> None:
    # More than the kernel ever gives out (PID_MAX_LIMIT).
    pid = 1 << 23
    async with running_agent("--pid", str(pid)) as agent:
        refused = await refusal(agent.tunnel, encode(Hello(PROTOCOL_VERSION)))
        assert refused == Refusal(errno.ESRCH, f"there is no process {pid}")
        assert (await refusal(agent.tunnel, encode(Resolve("web")))).code == errno.ESRCH


async def test_no_such_network_is_said(tmp_path: Path) -> None:
    async with running_agent("--netns", str(tmp_path / "none")) as agent:
        assert (await refusal(agent.tunnel, encode(Hello(PROTOCOL_VERSION)))).code == errno.ENOENT
    (tmp_path / "file").touch()
    async with running_agent("--netns", str(tmp_path / "file")) as agent:
        refused = await refusal(agent.tunnel, encode(Hello(PROTOCOL_VERSION)))
        assert refused.reason == f"'{tmp_path / 'file'}' is no network namespace"


async def test_network_without_process_has_no_files(pod: Pod) -> None:
    async with running_agent("--netns", f"/proc/{pod.pid}/ns/net") as agent:
        welcome = await hello(agent.tunnel)
        assert {"files", "env"} <= welcome.cannot.keys()
        assert "10.77.0.1" in welcome.addresses
        assert (await refusal(agent.tunnel, encode(ReadEnv()))).code == errno.ENOTSUP
        assert (await refusal(agent.tunnel, encode(LookUp("/etc", "stat")))).code == errno.ENOTSUP
        await agent.tunnel.ask(encode(Connect(Address("127.0.0.1", ECHO_PORT))))


@needs_root
async def test_missing_right_is_said(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid), rights=NO_RIGHTS) as agent:
        refused = await refusal(agent.tunnel, encode(Hello(PROTOCOL_VERSION)))
    assert refused.code in (errno.EACCES, errno.EPERM)
    assert f"network of process {pod.pid}" in refused.reason
    assert "CAP_SYS_ADMIN" in refused.reason


@needs_root
async def test_rights_of_a_job_suffice_for_a_pod_of_another_user(tmp_path: Path) -> None:
    with running_pod(tmp_path, user=1000) as pod:
        async with running_agent("--pid", str(pod.pid), rights=JOB_RIGHTS) as agent:
            welcome = await hello(agent.tunnel)
            assert (welcome.hostname, {"files", "env"} & welcome.cannot.keys()) == (HOSTNAME, set())
            assert await environment(agent.tunnel) == POD_ENV
            assert await content(agent.tunnel, "/srv/app/secret") == b"only for the owner"


@needs_root
async def test_without_dac_read_search_the_rest_works(tmp_path: Path) -> None:
    rights = [JOB_RIGHTS[0], JOB_RIGHTS[1].removesuffix(",+dac_read_search")]
    with running_pod(tmp_path, user=1000) as pod:
        async with running_agent("--pid", str(pod.pid), rights=rights) as agent:
            welcome = await hello(agent.tunnel)
            assert "CAP_DAC_READ_SEARCH" in welcome.cannot["env"]
            assert (await refusal(agent.tunnel, encode(ReadEnv()))).code == errno.EACCES
            entries = decode_entries(await agent.tunnel.fetch(encode(LookUp("/srv/app/secret", "read"))))
            assert (entries[-1][0].kind, entries[-1][0].errno) == ("missing", errno.EACCES)
            assert await content(agent.tunnel, "/srv/app/config") == b"key: value\n"


@needs_root
async def test_ordinary_user_reaches_a_pod_in_his_user_namespace(tmp_path: Path) -> None:
    # Root without any capability has the rights of an ordinary user, and can read the interpreter wherever it lies.
    with running_pod(tmp_path, in_user_namespace=True) as pod:
        async with running_agent("--pid", str(pod.pid), rights=NO_RIGHTS) as agent:
            welcome = await hello(agent.tunnel)
            assert (welcome.hostname, {"files", "env"} & welcome.cannot.keys()) == (HOSTNAME, set())
            assert await environment(agent.tunnel) == POD_ENV
            assert await content(agent.tunnel, "/srv/app/secret") == b"only for the owner"
            await agent.tunnel.ask(encode(Connect(Address("127.0.0.1", ECHO_PORT))))


async def test_agent_ends_with_the_link(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        await hello(agent.tunnel)
        busy = agent.tunnel.open(encode(Connect(Address("127.0.0.1", ECHO_PORT))))
        await busy.accepted()
        agent.tunnel.close()
        assert await agent.ended() == 0


@pytest.mark.parametrize("arguments", [[], ["--fd"], ["--fd", "x", "--pid", "1"], ["--fd", "0", "--nonsense", "1"]])
def test_wrong_arguments_are_said(arguments: list[str]) -> None:
    done = subprocess.run(
        agent_command(*arguments), env=agent_environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=20
    )
    assert done.returncode == 2
    assert b"usage:" in done.stderr


def test_socket_may_be_standard_input(pod: Pod) -> None:
    """As sudo, which closes every other descriptor, makes it necessary."""
    ours, theirs = socket.socketpair()
    command = agent_command("--fd", "0", "--pid", str(pod.pid))
    with ours, theirs, subprocess.Popen(command, env=agent_environment(), stdin=theirs.fileno()) as process:
        theirs.close()
        ours.settimeout(20)
        assert ours.recv(1)
        ours.close()
        assert process.wait(20) == 0


async def test_no_descriptor_is_left_behind(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        descriptors = Path(f"/proc/{agent.process.pid}/fd")

        async def use_everything() -> None:
            for name in ("web", "nope", "big.test."):
                await agent.tunnel.ask(encode(Resolve(name)))
            for path in ("/srv/current/config", "/srv/app/loop", "/srv/app/pipe", "/srv/none"):
                await agent.tunnel.fetch(encode(LookUp(path, "read")))
            await agent.tunnel.fetch(encode(LookUp("/srv/app", "list")))
            for request in (
                ReadFile("/srv/app/big"),
                Connect(Address("127.0.0.1", ECHO_PORT)),
                Connect(Address("10.77.0.9", 80)),
            ):
                agent.tunnel.open(encode(request)).refuse()
                given_up = agent.tunnel.open(encode(request))
                if request != Connect(Address("10.77.0.9", 80)):
                    await given_up.accepted()
                given_up.refuse()
            await environment(agent.tunnel)

        await use_everything()
        before = await settled(descriptors)
        for _ in range(10):
            await use_everything()
        assert await settled(descriptors) <= before


async def settled(folder: Path) -> int:
    """Return the number of names in `folder` once it has not changed for a moment."""
    counts = [-1]
    while len(counts) < 5 or len(set(counts[-5:])) > 1:
        counts.append(len(os.listdir(folder)))
        await asyncio.sleep(0.05)
    return counts[-1]
