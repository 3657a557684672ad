"""What of a namespace can be imitated: for `inpod ls`."""

from dataclasses import dataclass
from typing import Literal

from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.objects import Listing
from inpod.targets.kube.pod_objects import Deployment, Pod
from inpod.targets.kube.refusals import ApiRefusal, explain
from inpod.targets.kube.resolve import SIDECARS, deployments_path, pods_path, require_namespace


@dataclass(frozen=True, slots=True)
class Listed:
    """One target.

    Attributes:
        containers: Those of the application first.
        ready: Ready pods of a deployment or ready containers of a pod, of how many: "1/2".
        is_ready: Whether it can be imitated now.
    """

    kind: Literal["deployment", "pod"]
    name: str
    containers: tuple[str, ...]
    ready: str
    is_ready: bool

    @property
    def target(self) -> str:
        """As --target names it."""
        return f"{self.kind}/{self.name}"


async def list_targets(
    *, kubeconfig: str | None = None, context: str | None = None, kube_namespace: str | None = None
) -> tuple[str, list[Listed]]:
    """Return the namespace, and its deployments and pods; inpod's own are left out.

    Raises:
        UserError: There is no such namespace or context, it may not be read, or the API server does not answer.
    """
    async with await Cluster.connect(kubeconfig=kubeconfig, context=context, namespace=kube_namespace) as cluster:
        try:
            deployments = await cluster.get(deployments_path(cluster.namespace), Listing[Deployment])
            pods = await cluster.get(pods_path(cluster.namespace), Listing[Pod])
            if not deployments.items and not pods.items:
                await require_namespace(cluster)
        except ApiRefusal as error:
            raise explain(error, cluster.server) from error
        return cluster.namespace, listed(deployments.items, pods.items)


def listed(deployments: list[Deployment], pods: list[Pod]) -> list[Listed]:
    """Return what can be imitated, deployments first."""
    found = [
        Listed(
            kind="deployment",
            name=each.metadata.name,
            containers=_containers([c.name for c in each.spec.template.spec.containers]),
            ready=f"{each.status.ready_replicas}/{each.spec.replicas}",
            is_ready=each.status.ready_replicas > 0,
        )
        for each in sorted(deployments, key=lambda d: d.metadata.name)
    ]
    found += [
        Listed(
            kind="pod",
            name=each.metadata.name,
            containers=_containers([c.name for c in each.spec.containers]),
            ready=f"{sum(s.ready for s in each.status.container_statuses)}/{len(each.spec.containers)}",
            is_ready=each.is_ready,
        )
        for each in sorted(pods, key=lambda p: p.metadata.name)
        if each.metadata.labels.get("app.kubernetes.io/managed-by") != "inpod"
    ]
    return found


def _containers(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: name in SIDECARS))
