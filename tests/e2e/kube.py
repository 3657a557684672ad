"""A namespace of the real cluster for one group of tests, made and asked through inpod's own client.

The cluster is the one of $KUBECONFIG. $INPOD_TEST_IMAGE names an image with Python >= 3.11 that its nodes have.
"""

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import uvloop

from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.objects import Deployment, Job, Listing, Pod
from inpod.targets.kube.refusals import ApiRefusal
from inpod.targets.kube.resolve import deployments_path, pods_path
from inpod.targets.kube.target import KubeTarget
from inpod.targets.spec import DeploymentTarget, PodTarget, parse_target

IMAGE = os.environ.get("INPOD_TEST_IMAGE", "localhost/inpod-python:test")
WAIT_S = 60.0

T = TypeVar("T")


def run(work: Coroutine[None, None, T]) -> T:
    """Run `work` as inpod does."""
    return uvloop.run(work)


@dataclass(frozen=True)
class Namespace:
    """A namespace of the cluster."""

    name: str

    def target(self, text: str, **options: Any) -> KubeTarget:
        """Return a target of this namespace."""
        spec = parse_target(text)
        assert isinstance(spec, PodTarget | DeploymentTarget)
        return KubeTarget(spec, **{"kube_namespace": self.name, "image": IMAGE, **options})

    async def create(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create an object of this namespace."""
        async with await Cluster.connect(namespace=self.name) as cluster:
            return await cluster.create(
                f"{path[: path.rindex('/')]}/namespaces/{self.name}{path[path.rindex('/') :]}", manifest, dict[str, Any]
            )

    async def jobs(self) -> list[Job]:
        """Return the Jobs there are."""
        async with await Cluster.connect(namespace=self.name) as cluster:
            return (await cluster.get(f"/apis/batch/v1/namespaces/{self.name}/jobs", Listing[Job])).items

    async def pods(self) -> list[Pod]:
        """Return the pods there are."""
        async with await Cluster.connect(namespace=self.name) as cluster:
            return (await cluster.get(pods_path(self.name), Listing[Pod])).items

    async def agents(self) -> list[Pod]:
        """Return the agents' pods there are."""
        return [p for p in await self.pods() if p.metadata.labels.get("app.kubernetes.io/managed-by") == "inpod"]

    async def nothing_is_left(self, within_s: float = WAIT_S) -> None:
        """Wait until neither Job nor pod of an agent is there."""

        async def is_empty() -> bool:
            return not await self.jobs() and not await self.agents()

        await until(is_empty, within_s)


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = WAIT_S) -> None:
    """Ask until `holds`."""
    end = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < end, f"not within {within_s} s"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def namespace(labels: dict[str, str] | None = None) -> AsyncIterator[Namespace]:
    """Make a namespace that pods can be made in; delete it at the end."""
    name = f"inpod-test-{secrets.token_hex(4)}"
    async with await Cluster.connect() as cluster:
        manifest = {"metadata": {"name": name, "labels": labels or {}}}
        await cluster.create("/api/v1/namespaces", manifest, dict[str, Any])
        try:
            await until(lambda: _is_there(cluster, f"/api/v1/namespaces/{name}/serviceaccounts/default"))
            yield Namespace(name)
        finally:
            await cluster.delete(f"/api/v1/namespaces/{name}", {})


async def _is_there(cluster: Cluster, path: str) -> bool:
    try:
        await cluster.get(path, dict[str, Any])
    except ApiRefusal as error:
        if error.code != 404:
            raise
        return False
    return True


async def deploy(here: Namespace, name: str = "web", *, wait: bool = True, replicas: int = 1, **pod: Any) -> None:
    """Make a deployment of a web server: uid 1000, files of its own with mode 0600, a ConfigMap and an environment."""
    await here.create("/api/v1/configmaps", {"metadata": {"name": name}, "data": {"greeting": "hello of the pod\n"}})
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "web",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-m", "http.server", "8080", "--directory", "/etc/app"],
                    "env": [{"name": "GREETING", "value": "of the pod"}],
                    "securityContext": {"runAsUser": 1000},
                    "volumeMounts": [{"name": "app", "mountPath": "/etc/app"}],
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                }
            ],
            "volumes": [{"name": "app", "configMap": {"name": name}}],
            **pod,
        },
    }
    await here.create(
        "/apis/apps/v1/deployments",
        {
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        },
    )
    if not wait:
        return
    async with await Cluster.connect(namespace=here.name) as cluster:

        async def is_ready() -> bool:
            deployment = await cluster.get(deployments_path(here.name, name), Deployment)
            return deployment.status.ready_replicas == replicas

        await until(is_ready)


async def kubeconfig(**change: Any) -> dict[str, Any]:
    """Return the kubeconfig in use, of one context; `cluster`, `user`, `context` change what it says there."""
    from kr8s.asyncio import Api

    api = Api(bypass_factory=True)
    await api.auth.reauthenticate()
    config = api.auth.kubeconfig
    context = config.get_context(api.auth.active_context)
    entries = {
        "cluster": config.get_cluster(context["cluster"]),
        "user": config.get_user(context["user"]),
        "context": {"cluster": "test", "user": "test"},
    }
    raw: dict[str, Any] = json.loads(msgspec.json.encode(entries))
    for kind, values in change.items():
        raw[kind] = {k: v for k, v in {**raw[kind], **values}.items() if v is not None}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        **{f"{kind}s": [{"name": "test", kind: raw[kind]}] for kind in raw},
    }
