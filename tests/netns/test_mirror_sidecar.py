"""Mirroring beside a service mesh's sidecar: the application's leg is copied, the caller's to the sidecar is not."""

import asyncio
import os
import subprocess
from collections.abc import Callable

import pytest

from tests.netns.program import Program, agent_beside, subscribe, until
from tests.netns.test_redirect_sidecar import PORT, SIDECAR_IP, lines_for
from tests.netns.test_redirect_sidecar import hosts as hosts  # the fixture
from tests.netns.test_redirect_sidecar import load_rules as load_rules  # the fixture
from tests.netns.traffic import CLIENT_IPV4, POD_IPV4, Hosts, Netns

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

HEAD = b"GET / HTTP/1.1\r\n\r\n"


async def test_only_the_applications_leg_is_copied(hosts: Hosts, load_rules: Callable[[Netns], None]) -> None:
    load_rules(hosts.pod)
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        sock = await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT)
        with sock:
            # Readable HTTP, as of a sidecar without encryption: it could be joined in the middle.
            for count in (1, 2):
                sock.sendall(HEAD)
                await program.heard(HEAD * count)
            assert [taken.request.peer.ip for taken in program.taken] == [SIDECAR_IP]
        # Short ones, of which the kernel may have forgotten all by the time we look.
        for _ in range(5):
            assert await asyncio.to_thread(lines_for, hosts.client) == ("sidecar", "original")
        await until(lambda: len(program.taken) == 6, "each is copied")
        assert {taken.request.peer.ip for taken in program.taken} == {SIDECAR_IP}


async def test_callers_are_copied_again_without_the_rules(hosts: Hosts) -> None:
    def rules(*command: str) -> None:
        subprocess.run(["nft", *command], check=True)

    table = "add table ip mesh; add chain ip mesh arriving { type nat hook prerouting priority dstnat; }; "
    rule = f"add rule ip mesh arriving tcp dport {PORT} redirect to :15006"
    hosts.pod.inside(lambda: rules(table + rule))
    program = Program()
    async with agent_beside(hosts, program) as agent:
        await subscribe(agent, PORT, "mirror")
        with await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT):
            await until(lambda: len(program.taken) == 1, "the application's leg is copied")
        hosts.pod.inside(lambda: rules("delete table ip mesh"))
        with await asyncio.to_thread(hosts.client.connect, POD_IPV4, PORT) as sock:
            sock.sendall(HEAD)
            assert (await program.heard(HEAD)).request.peer.ip == CLIENT_IPV4
