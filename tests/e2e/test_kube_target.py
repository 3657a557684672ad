"""An agent in the real cluster: started, talked to, found again, ended."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from inpod.protocol.agent import Address, Connect, Hello, ReadEnv, Welcome, decode_answer, encode
from inpod.targets.base import AgentLink
from inpod.targets.kube import lease
from inpod.targets.kube.bootstrap import present_token
from inpod.targets.kube.list import Listed, list_targets
from inpod.tunnel.streams import Tunnel
from tests.e2e.kube import Namespace, deploy, namespace, run, until


@pytest.fixture(scope="module")
def shop() -> Iterator[Namespace]:
    """A namespace with the deployment `web`."""
    with asyncio.Runner() as runner:
        made = namespace()
        here = runner.run(made.__aenter__())
        try:
            runner.run(deploy(here))
            yield here
        finally:
            runner.run(made.__aexit__(None, None, None))


@asynccontextmanager
async def started(here: Namespace, text: str, said: list[str] | None = None) -> AsyncIterator[AgentLink]:
    link = await here.target(text).start_agent((said if said is not None else []).append)
    try:
        yield link
    finally:
        await link.close()
        assert await here.jobs() == []


@asynccontextmanager
async def talking(link: AgentLink) -> AsyncIterator[Tunnel]:
    tunnel = Tunnel(initiator=True, on_stream=lambda stream, head: None)
    await tunnel.attach(link.sock)
    try:
        yield tunnel
    finally:
        tunnel.close()


async def greet(tunnel: Tunnel) -> Welcome:
    async with asyncio.timeout(10):
        return decode_answer(Welcome, await tunnel.ask(encode(Hello(1))))


def test_agent_of_a_deployment_tells_of_its_pod_and_leaves_nothing(shop: Namespace) -> None:
    async def story() -> None:
        said: list[str] = []
        async with started(shop, "deployment/web", said) as link, talking(link) as tunnel:
            welcome = await greet(tunnel)
            assert welcome.hostname.startswith("web-")
            assert link.describes == f"pod {welcome.hostname}, container web"
            assert said[0].startswith(link.describes)
            assert link.mounts == ("/etc/app", "/var/run/secrets/kubernetes.io/serviceaccount")
            # Of a process of uid 1000.
            assert welcome.cannot.keys() <= {"steal"}
            assert b'"GREETING":"of the pod"' in (await tunnel.fetch(encode(ReadEnv()))).replace(b": ", b":")
            (job,) = await shop.jobs()
            assert job.metadata.name.startswith("inpod-agent-")
        await shop.nothing_is_left(15)

    run(story())


def test_pod_and_container_can_be_named(shop: Namespace) -> None:
    async def story() -> None:
        (pod,) = [p.metadata.name for p in await shop.pods() if p.metadata.name.startswith("web-")]
        async with started(shop, f"pod/{pod}/container/web") as link, talking(link) as tunnel:
            assert (await greet(tunnel)).hostname == pod

    run(story())


def test_connection_made_again_reaches_the_same_agent(shop: Namespace) -> None:
    async def story() -> None:
        async with started(shop, "deployment/web") as link:
            for _ in range(3):
                async with talking(link) as tunnel:
                    await greet(tunnel)
                await link.reconnect()
            async with talking(link) as tunnel:
                await greet(tunnel)
            assert len(await shop.agents()) == 1

    run(story())


def test_stranger_with_a_wrong_token_is_closed_and_disturbs_nobody(
    shop: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with started(shop, "deployment/web") as link, talking(link) as tunnel:
            await greet(tunnel)
            with monkeypatch.context() as patch:
                patch.setattr("inpod.targets.kube.start.present_token", lambda sock, _: present_token(sock, "wrong"))
                assert link.remake is not None
                with await link.remake() as stranger:
                    async with asyncio.timeout(10):
                        assert await asyncio.get_running_loop().sock_recv(stranger, 1) == b""
            await greet(tunnel)

    run(story())


def test_bytes_pass_the_port_forward_whole_in_both_directions(shop: Namespace) -> None:
    """Against a socket of the pod that sends back what it gets."""
    size = 8 * 1024 * 1024
    pattern = bytes(range(251)) * (size // 251 + 1)
    program = (
        "import socket, threading\n"
        "s = socket.create_server(('127.0.0.1', 9000))\n"
        "def echo(c):\n"
        "    while d := c.recv(65536): c.sendall(d)\n"
        "    c.shutdown(socket.SHUT_WR)\n"
        "while True: threading.Thread(target=echo, args=(s.accept()[0],)).start()\n"
    )
    container = {"name": "echo", "command": ["python3", "-c", program], "readinessProbe": None}

    async def story() -> None:
        from tests.e2e.kube import IMAGE

        await deploy(shop, "echo", containers=[{**container, "image": IMAGE}])
        async with started(shop, "deployment/echo") as link, talking(link) as tunnel:
            await greet(tunnel)
            stream = tunnel.open(encode(Connect(Address("127.0.0.1", 9000))))
            await stream.accepted()
            got = bytearray()

            async def send() -> None:
                await stream.write(pattern[:size])
                stream.write_eof()

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(send())
                while data := await stream.read():
                    got += data
            assert bytes(got) == pattern[:size]

    run(story())


def test_lease_is_renewed(shop: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)

    async def story() -> None:
        async with started(shop, "deployment/web"):

            async def is_renewed() -> bool:
                (job,) = await shop.jobs()
                return job.spec.active_deadline_seconds >= 63

            await until(is_renewed, 15)

    run(story())


def test_start_that_is_cancelled_leaves_nothing(shop: Namespace) -> None:
    """At each step that is reported."""

    async def is_cancelled_at(step: int) -> bool:
        said: list[str] = []

        def report(what: str) -> None:
            said.append(what)
            if len(said) == step:
                starting.cancel()

        starting = asyncio.ensure_future(shop.target("deployment/web").start_agent(report))
        try:
            link = await starting
        except asyncio.CancelledError:
            assert await shop.jobs() == []
            return True
        await link.close()
        return False

    async def story() -> None:
        steps = 1
        while await is_cancelled_at(steps):
            steps += 1
        assert steps >= 5
        await shop.nothing_is_left(15)

    run(story())


def test_targets_are_listed(shop: Namespace) -> None:
    async def story() -> None:
        name, found = await list_targets(kube_namespace=shop.name)
        assert name == shop.name
        assert Listed(kind="deployment", name="web", containers=("web",), ready="1/1", is_ready=True) in found
        assert any(t.kind == "pod" and t.name.startswith("web-") and t.is_ready for t in found)

    run(story())
