"""An agent whose kernel has no IPv6 (`ipv6.disable=1`): sockets of it cannot be made."""

import errno
import subprocess
from pathlib import Path

import pytest

from inpod.protocol.agent import Resolve, Resolved, decode_answer, encode
from tests.netns.conftest import Pod, running_agent

PROGRAMS = Path(__file__).parents[1] / "programs"
SOCKET, AF_INET6 = 41, 10


@pytest.fixture(scope="module")
def no_ipv6(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What runs a command so."""
    program = tmp_path_factory.mktemp("deny") / "deny_call"
    subprocess.run(["gcc", "-O1", "-Wall", "-o", program, PROGRAMS / "deny_call.c"], check=True)
    return [str(program), f"{SOCKET}:{AF_INET6}", str(errno.EAFNOSUPPORT)]


@pytest.mark.parametrize(
    ("name", "addresses"), [("localhost", ["127.0.0.1", "::1"]), ("pod.test", ["10.77.0.1", "fd77::1", "10.64.0.1"])]
)
async def test_names_that_have_both_kinds_of_addresses(
    pod: Pod, no_ipv6: list[str], name: str, addresses: list[str]
) -> None:
    async with running_agent("--pid", str(pod.pid), rights=no_ipv6) as agent:
        found = decode_answer(Resolved, await agent.tunnel.ask(encode(Resolve(name))))
    assert found.addresses == addresses
