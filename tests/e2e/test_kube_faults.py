"""inpod killed between each two calls of its start: the agent is gone when its time ends, and the target serves as before."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from tests.e2e.cluster import PORT, Namespace, until
from tests.e2e.kube import agents
from tests.processes import next_line

LEASE_S = 12
AT_A_TIME = 4
"""More starts at once than this take longer than the lease, on two cores."""
SOURCE = Path(__file__).parent.parent.parent / "src"

DRIVER = """
import asyncio, os, signal, sys
import uvloop
from inpod.targets.kube import bootstrap, cluster, job, lease, portforward, start
from inpod.targets.kube.target import KubeTarget
from inpod.targets.spec import parse_target

kubeconfig, namespace, image, way, *points = sys.argv[1:]
job.LEASE_S, job.KEPT_AFTER_END_S = {lease}, 1

def impatient(*args):
    return [word.replace("NOBODY_LIMIT = 60.0", "NOBODY_LIMIT = {lease}.0") for word in bootstrap.command(*args)]

start.command = impatient

def deadly(call, name):
    async def run(*args, **kwargs):
        said = name(*args)
        if kill_at == "before " + said:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await call(*args, **kwargs)
        if kill_at == "after " + said:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return run

def of_request(self, login, method, path, *_):
    parts = path.split("/")
    kinds = ("selfsubjectaccessreviews", "jobs", "events", "pods")
    return method + " " + next(part + ("/NAME" if part != parts[-1] else "") for part in parts if part in kinds)

cluster.Cluster._send = deadly(cluster.Cluster._send, of_request)
portforward._handshake = deadly(portforward._handshake, lambda *_: "port-forward")
start.send_code = deadly(start.send_code, lambda *_: "code")

started = {}
for kill_at in points:
    if not (child := os.fork()):
        break
    started[child] = kill_at
else:
    for _ in points:
        child, status = os.wait()
        print(os.waitstatus_to_exitcode(status), started[child], flush=True)
    sys.exit()

async def main():
    found = KubeTarget(parse_target("pod/web"), kubeconfig=kubeconfig, kube_namespace=namespace, image=image,
                       is_ephemeral=way == "ephemeral")
    await found.start_agent(lambda what: None)
    print("started", os.getpid(), flush=True)
    await asyncio.Future()

uvloop.run(main())
""".replace("{lease}", str(LEASE_S))


POINTS = [
    f"{moment} {call}"
    for call in (
        "POST selfsubjectaccessreviews",
        "GET pods/NAME",
        "POST jobs",
        "GET pods",
        "GET events",
        "port-forward",
        "code",
    )
    for moment in ("before", "after")
]
"""All calls of a start, in order; those that are repeated by their first time."""


@contextmanager
def drivers(
    here: Namespace, *points: str, image: str | None = None, way: Literal["job", "ephemeral"] = "job"
) -> Iterator["subprocess.Popen[str]"]:
    """Start an agent for each point, in a process of its own that kills itself there; one over them tells of their ends."""
    argv = [here.cluster.kubeconfig, here.name, image or here.cluster.image, way, *points]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait_until_killed(
    here: Namespace, *points: str, image: str | None = None, way: Literal["job", "ephemeral"] = "job"
) -> None:
    """Start an agent for each point at once, and wait until each has killed itself."""
    with drivers(here, *points, image=image, way=way) as process:
        said, error = process.communicate(timeout=60)
    assert sorted(said.splitlines()) == sorted(f"{-signal.SIGKILL} {point}" for point in points), error


def wait_until_leases_have_ended(here: Namespace) -> None:
    until("leases to end", lambda: not here.jobs() and not agents(here), within_s=LEASE_S + 30)


def serves(here: Namespace) -> bool:
    code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{PORT}/x', timeout=5).status)"
    return here.inside("web", code) == "200"


def test_what_is_killed_leaves_nothing_beyond_the_lease(targets: Namespace) -> None:
    """One after the other, so that the leases are waited for together."""
    kill_between_any_two_calls_of_the_start(targets)
    assert serves(targets)
    kill_while_the_image_cannot_be_pulled(targets)
    kill_a_started_session(targets)
    wait_until_leases_have_ended(targets)
    assert serves(targets)


def kill_between_any_two_calls_of_the_start(here: Namespace) -> None:
    for at in range(0, len(POINTS), AT_A_TIME):
        wait_until_killed(here, *POINTS[at : at + AT_A_TIME])
    assert here.jobs(), "what was killed after the creation left its Job"


def kill_while_the_image_cannot_be_pulled(here: Namespace) -> None:
    image = "localhost/no-such-agent:1"
    before = set(here.jobs())
    wait_until_killed(here, "after POST jobs", "after GET events", image=image)
    assert len(set(here.jobs()) - before) == 2


def kill_a_started_session(here: Namespace) -> None:
    before = set(here.jobs())
    with drivers(here, "never") as process:
        started = next_line(process.stdout).removeprefix("started ")
        assert len(set(here.jobs()) - before) == 1
        os.kill(int(started), signal.SIGKILL)
        assert next_line(process.stdout) == f"{-signal.SIGKILL} never"
