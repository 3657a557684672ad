"""The pod's files through a real agent; what paths do in detail is in tests/unit/agent/files."""

import asyncio
import errno
import os

import pytest

from inpod.protocol.agent import LookUp, ReadFile, Refusal, Want, decode_answer, encode
from inpod.protocol.listing import Entry, decode_entries
from inpod.tunnel.streams import StreamRefused, Tunnel
from tests.netns.conftest import Pod, running_agent
from tests.netns.pod import BIG_BYTES, HOSTS


async def look_up(tunnel: Tunnel, path: str, want: Want) -> list[tuple[Entry, bytes | None]]:
    return decode_entries(await tunnel.fetch(encode(LookUp(path, want))))


async def test_files_are_those_of_the_pod(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        assert (await look_up(agent.tunnel, "/etc/hosts", "read"))[-1][1] == HOSTS.encode()
        assert (await look_up(agent.tunnel, "/etc/passwd", "stat"))[-1][0].errno == errno.ENOENT
        assert (await look_up(agent.tunnel, "/srv/mounted/inner", "read"))[-1][1] == b"on another mount"


async def test_links_are_named_and_stay_inside(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        up = await look_up(agent.tunnel, "/srv/current/up", "read")
        assert [(e.path, e.kind, e.target) for e, _ in up] == [
            ("/srv", "dir", ""),
            ("/srv/current", "link", "/srv/app"),
            ("/srv/app", "dir", ""),
            ("/srv/app/up", "link", "../../../../../../etc/hosts"),
            ("/etc", "dir", ""),
            ("/etc/hosts", "file", ""),
        ]
        assert up[-1][1] == HOSTS.encode()
        assert (await look_up(agent.tunnel, "/srv/app/loop", "stat"))[-1][0].errno == errno.ELOOP
        # A link of /proc that leads to this machine's root, were it followed as the kernel does.
        assert (await look_up(agent.tunnel, "/proc/self/root/etc/passwd", "stat"))[-1][0].kind == "missing"


async def test_listing(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        answer = await look_up(agent.tunnel, "/srv/app", "list")
    by_path = {entry.path: (entry, content) for entry, content in answer}
    assert by_path["/srv/app"][0].is_listed
    members = {os.path.basename(path) for path in by_path if os.path.dirname(path) == "/srv/app"}
    assert members == {"secret", "big", "config", "up", "loop", "pipe"}
    secret, content = by_path["/srv/app/secret"]
    assert (secret.mode, content) == (0o600, b"only for the owner")
    assert by_path["/srv/app/big"][1] is None
    assert by_path["/srv/app/big"][0].size == BIG_BYTES // 256 * 256


async def test_big_file_streams_whole(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        content = await agent.tunnel.fetch(encode(ReadFile("/srv/current/big")))
    assert content == bytes(range(256)) * (BIG_BYTES // 256)


async def test_slow_reader_of_a_big_file_holds_up_nobody(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        slow = agent.tunnel.open(encode(ReadFile("/srv/app/big")))
        await slow.accepted()
        assert (await look_up(agent.tunnel, "/srv/app/config", "read"))[-1][1] == b"key: value\n"
        size = 0
        while chunk := await slow.read():
            size += len(chunk)
        assert size == BIG_BYTES // 256 * 256


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/srv/none", errno.ENOENT),
        ("/srv/app/config/below", errno.ENOTDIR),
        ("/srv/app", errno.EISDIR),
        ("/srv/app/pipe", errno.ENXIO),
        ("/srv/app/loop", errno.ELOOP),
    ],
)
async def test_what_cannot_be_read_has_the_errno(pod: Pod, path: str, code: int) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        with pytest.raises(StreamRefused) as caught:
            await asyncio.wait_for(agent.tunnel.fetch(encode(ReadFile(path))), 10)
    assert decode_answer(Refusal, caught.value.payload) == Refusal(code)


async def test_devices_are_named_and_not_opened(pod: Pod) -> None:
    async with running_agent("--pid", str(pod.pid)) as agent:
        entry = (await look_up(agent.tunnel, "/dev/null", "read"))[-1][0]
    # In a user namespace there is none.
    assert entry.kind == "other" or entry.errno == errno.ENOENT
