"""An agent in the real cluster: started, talked to, found again, ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from inpod.errors import UserError
from inpod.protocol.agent import Address, Connect, Hello, ReadEnv, Welcome, decode_answer, encode
from inpod.targets.base import AgentLink
from inpod.targets.kube import lease
from inpod.targets.kube.bootstrap import Keys, present_token
from inpod.targets.kube.cluster import Cluster as Client
from inpod.targets.kube.job_place import JobPlace
from inpod.targets.kube.list import Listed, list_targets
from inpod.targets.kube.progress import Started, Waiting
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel
from tests.e2e.cluster import Namespace
from tests.e2e.kube import agents, make_target, run, wait_until_nothing_is_left

ANSWER_S = 10.0


@asynccontextmanager
async def started(here: Namespace, text: str, said: list[str] | None = None) -> AsyncIterator[AgentLink]:
    link = await make_target(here, text).start_agent((said if said is not None else []).append)
    try:
        yield link
    finally:
        await link.close()
    assert here.jobs() == []


@asynccontextmanager
async def talking(link: AgentLink) -> AsyncIterator[Tunnel]:
    tunnel = Tunnel(initiator=True, on_stream=lambda stream, head: None)
    await tunnel.attach(link.sock)
    try:
        yield tunnel
    finally:
        tunnel.close()


async def greet(tunnel: Tunnel) -> Welcome:
    async with asyncio.timeout(ANSWER_S):
        return decode_answer(Welcome, await tunnel.ask(encode(Hello(1))))


def test_agent_of_a_deployment_tells_of_its_pod_and_leaves_nothing(targets: Namespace) -> None:
    async def story() -> None:
        said: list[str] = []
        async with started(targets, "deployment/api", said) as link, talking(link) as tunnel:
            welcome = await greet(tunnel)
            assert welcome.hostname == targets.pod_of("api")["metadata"]["name"]
            assert link.describes == f"pod {welcome.hostname}, container web"
            assert said[0].startswith(f"Found {link.describes}")
            assert {"/etc/app", "/run/secrets/app", "/var/run/secrets/kubernetes.io/serviceaccount"} <= set(link.mounts)
            # Of a process of uid 1000.
            assert not {"env", "files"} & welcome.cannot.keys()
            assert b"hello from the pod" in await tunnel.fetch(encode(ReadEnv()))
            assert len(targets.jobs()) == 1

    run(story())
    wait_until_nothing_is_left(targets)


def test_agent_is_reached_before_the_cluster_says_that_it_runs(
    targets: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = JobPlace.look

    async def look_without_the_end(place: JobPlace) -> Waiting | Started:
        state = await look(place)
        return Waiting("kubelet to tell", state.pod) if isinstance(state, Started) else state

    monkeypatch.setattr(JobPlace, "look", look_without_the_end)

    async def story() -> None:
        async with started(targets, "pod/web") as link, talking(link) as tunnel:
            assert (await greet(tunnel)).hostname == "web"

    run(story())


def test_pod_and_container_can_be_named(targets: Namespace) -> None:
    async def story() -> None:
        async with started(targets, "pod/web/container/web") as link, talking(link) as tunnel:
            assert (await greet(tunnel)).hostname == "web"

    run(story())


def test_connection_made_again_reaches_the_same_agent(targets: Namespace) -> None:
    wait_until_nothing_is_left(targets)

    async def story() -> None:
        async with started(targets, "pod/web") as link:
            for _ in range(3):
                async with talking(link) as tunnel:
                    await greet(tunnel)
                await link.reconnect()
            async with talking(link) as tunnel:
                await greet(tunnel)
            assert len(agents(targets)) == 1

    run(story())


def test_stranger_with_a_wrong_token_is_closed_and_disturbs_nobody(
    targets: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with started(targets, "pod/web") as link, talking(link) as tunnel:
            await greet(tunnel)
            with monkeypatch.context() as patch:
                patch.setattr(
                    "inpod.targets.kube.start.present_token", lambda sock, _: present_token(sock, Keys("wrong", ""))
                )
                assert link.remake is not None
                with pytest.raises(UserError, match="it does not answer"):
                    await link.remake()
            await greet(tunnel)

    run(story())


ECHO = """
import socket
server = socket.create_server(("127.0.0.1", 9000))
connection, _ = server.accept()
while data := connection.recv(65536):
    connection.sendall(data)
"""


async def connected(tunnel: Tunnel, to: Address) -> Stream:
    """Connect as soon as something listens there."""
    async with asyncio.timeout(ANSWER_S):
        while True:
            stream = tunnel.open(encode(Connect(to)))
            try:
                await stream.accepted()
            except StreamRefused:
                await asyncio.sleep(0.05)
            else:
                return stream


def test_bytes_pass_the_port_forward_whole_in_both_directions(targets: Namespace) -> None:
    """Against a server in the pod that sends back what it gets."""
    size = 8 * 1024 * 1024
    sent = (bytes(range(251)) * (size // 251 + 1))[:size]
    targets.kubectl("exec", "web", "--", "sh", "-c", 'python3 -c "$0" >/dev/null 2>&1 &', ECHO)

    async def story() -> None:
        async with started(targets, "pod/web") as link, talking(link) as tunnel:
            await greet(tunnel)
            stream = await connected(tunnel, Address("127.0.0.1", 9000))
            got = bytearray()

            async def send() -> None:
                await stream.write(sent)
                stream.write_eof()

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(send())
                while data := await stream.read():
                    got += data
            assert bytes(got) == sent

    run(story())


def test_lease_is_renewed(targets: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.2)

    async def story() -> None:
        async with asyncio.timeout(30), started(targets, "pod/web"):
            deadline_s = 60
            while deadline_s < 63:
                await asyncio.sleep(0.2)
                (job,) = targets.get("jobs")["items"]
                deadline_s = job["spec"]["activeDeadlineSeconds"]

    wait_until_nothing_is_left(targets)
    run(story())


def test_start_that_is_cancelled_leaves_nothing(targets: Namespace) -> None:
    """At each step that is reported."""

    async def is_cancelled_at(step: int) -> bool:
        said: list[str] = []

        def report(what: str) -> None:
            said.append(what)
            if len(said) == step:
                starting.cancel()

        starting = asyncio.ensure_future(make_target(targets, "pod/web").start_agent(report))
        try:
            link = await starting
        except asyncio.CancelledError:
            assert targets.jobs() == []
            return True
        await link.close()
        return False

    async def story() -> None:
        steps = 1
        while await is_cancelled_at(steps):
            steps += 1
        assert steps >= 5

    run(story())
    wait_until_nothing_is_left(targets)


def test_failed_start_that_is_cancelled_at_its_end_leaves_nothing(
    targets: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by who presses Ctrl-C when a start takes too long, and it has just failed."""
    delete = Client.delete

    async def story() -> None:
        async def delete_cancelled(self: Client, path: str, options: dict[str, Any]) -> None:
            starting.cancel()
            await delete(self, path, options)

        monkeypatch.setattr(Client, "delete", delete_cancelled)
        target = make_target(targets, "pod/web", image="localhost/no-such-agent:1")
        starting = asyncio.ensure_future(target.start_agent(lambda what: None))
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert targets.jobs() == []

    run(story())
    wait_until_nothing_is_left(targets)


def test_targets_are_listed(targets: Namespace) -> None:
    name, found = run(list_targets(kubeconfig=targets.cluster.kubeconfig, kube_namespace=targets.name))
    assert name == targets.name
    assert Listed(kind="deployment", name="api", containers=("web",), ready="1/1", is_ready=True) in found
    assert Listed(kind="pod", name="web", containers=("web",), ready="1/1", is_ready=True) in found
    assert [each.target for each in found if "inpod-agent" in each.name] == []
