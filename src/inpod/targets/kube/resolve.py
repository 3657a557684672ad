"""Chooses pod and container of a target. The choice is made by functions without I/O; `resolve` reads what they need."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.objects import Listing, Named
from inpod.targets.kube.pod_objects import Container, Deployment, Pod
from inpod.targets.kube.refusals import ApiRefusal, explain, one_line
from inpod.targets.kube.states import container_state, has_ended_before, state_of
from inpod.targets.spec import DeploymentTarget, KubeSpec, PodTarget

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"

SIDECARS = frozenset(
    {
        "consul-dataplane",
        "envoy-sidecar",
        "istio-init",
        "istio-proxy",
        "kuma-sidecar",
        "linkerd-debug",
        "linkerd-init",
        "linkerd-proxy",
        "proxy-init",
        "vault-agent",
        "vault-agent-init",
    }
)
"""Containers that a mesh or an injector put beside the application."""


@dataclass(frozen=True, slots=True)
class Found:
    """A container that runs.

    Attributes:
        container_id: As its runtime names it, without "containerd://".
        mounts: Paths that the pod spec mounts into it.
        probe_ports: Ports, of any of the pod's containers, that the kubelet asks by HTTP or gRPC.
        addresses: IP addresses of the pod.
        pull_secrets: Names of secrets that its images are pulled with.
    """

    kube_namespace: str
    pod: str
    container: str
    container_id: str
    node: str
    mounts: tuple[str, ...] = ()
    probe_ports: tuple[int, ...] = ()
    pod_ip: str = ""
    is_host_network: bool = False
    addresses: tuple[str, ...] = ()
    pull_secrets: tuple[str, ...] = ()

    @property
    def describes(self) -> str:
        """For people."""
        return f"pod {self.pod}, container {self.container}"


def pods_path(kube_namespace: str, name: str = "") -> str:
    """Return the API's path of one or all pods."""
    return f"/api/v1/namespaces/{kube_namespace}/pods" + (f"/{name}" if name else "")


def deployments_path(kube_namespace: str, name: str = "") -> str:
    """Return the API's path of one or all deployments."""
    return f"/apis/apps/v1/namespaces/{kube_namespace}/deployments" + (f"/{name}" if name else "")


async def resolve(cluster: Cluster, spec: KubeSpec) -> Found:
    """Read the cluster and return the container to imitate.

    Raises:
        UserError: It is not there, does not run, or may not be read.
    """
    try:
        match spec:
            case PodTarget():
                pod = await _get_pod(cluster, spec)
            case DeploymentTarget():
                pod = await _pod_of_deployment(cluster, spec)
    except ApiRefusal as error:
        raise explain(error, cluster.server) from error
    return found(pod, choose_container(pod, spec.container), cluster.namespace)


async def _get_pod(cluster: Cluster, spec: PodTarget) -> Pod:
    try:
        return await cluster.get(pods_path(cluster.namespace, spec.name), Pod)
    except ApiRefusal as error:
        if error.code != 404:
            raise
    await require_namespace(cluster)
    raise _not_found(
        "pod",
        spec.name,
        cluster.namespace,
        pods=await _names(cluster, pods_path(cluster.namespace)),
        deployments=await _names(cluster, deployments_path(cluster.namespace)),
    )


async def _pod_of_deployment(cluster: Cluster, spec: DeploymentTarget) -> Pod:
    try:
        deployment = await cluster.get(deployments_path(cluster.namespace, spec.name), Deployment)
    except ApiRefusal as error:
        if error.code != 404:
            raise
    else:
        selector = deployment.spec.selector.query()
        pods = await cluster.get(pods_path(cluster.namespace), Listing[Pod], labelSelector=selector)
        return choose_pod(deployment, pods.items, cluster.namespace)
    await require_namespace(cluster)
    raise _not_found(
        "deployment",
        spec.name,
        cluster.namespace,
        pods=await _names(cluster, pods_path(cluster.namespace)),
        deployments=await _names(cluster, deployments_path(cluster.namespace)),
    )


async def require_namespace(cluster: Cluster) -> None:
    """Tell a missing namespace from a missing object; who may not read namespaces is told of the object."""
    try:
        await cluster.get(f"/api/v1/namespaces/{cluster.namespace}", Named)
    except ApiRefusal as error:
        if error.code != 404:
            return
        names = await _names(cluster, "/api/v1/namespaces")
        raise UserError(
            f"There is no namespace '{cluster.namespace}'.",
            hint=_did_you_mean(cluster.namespace, names, "-n ") or "See 'kubectl get namespaces'.",
            exit_code=ExitCode.TARGET_NOT_FOUND,
        ) from error


async def _names(cluster: Cluster, path: str) -> list[str]:
    """Return what there is, for a hint; nothing where listing is not allowed."""
    try:
        return [item.metadata.name for item in (await cluster.get(path, Listing[Named])).items]
    except (ApiRefusal, UserError):
        return []


def choose_pod(deployment: Deployment, pods: Iterable[Pod], kube_namespace: str) -> Pod:
    """Return the ready pod that is youngest: of two templates in a rollout the one to come.

    Raises:
        UserError: None is ready.
    """
    name = deployment.metadata.name
    matching = list(pods)
    candidates = [pod for pod in matching if _is_of(pod, name)]
    ready = [pod for pod in candidates if pod.is_ready]
    if ready:
        return max(ready, key=lambda pod: (pod.metadata.creation_timestamp, pod.metadata.name))
    if deployment.spec.replicas == 0:
        why = "it is scaled to 0"
    elif not candidates:
        others = (
            f" (of those that its selector matches none is its own: {matching[0].metadata.name})" if matching else ""
        )
        failed = [c.message for c in deployment.status.conditions if (c.type, c.status) == ("ReplicaFailure", "True")]
        why = f"it has no pods{others}" + "".join(f": {one_line(said).rstrip('.')}" for said in failed)
    else:
        why = "; ".join(f"{pod.metadata.name}: {state_of(pod)}" for pod in candidates[:3])
    raise UserError(
        f"No pod of deployment '{name}' is ready (namespace '{kube_namespace}'): {why}.",
        hint=f"See 'kubectl -n {kube_namespace} describe deployment {name}', or name a pod: --target pod/NAME.",
        exit_code=ExitCode.TARGET_NOT_READY,
    )


def _is_of(pod: Pod, deployment: str) -> bool:
    """Return whether a pod that a deployment's selector matches is its own.

    Selectors of two deployments may match each other's pods. Each owns ReplicaSets, which are named after it and the label
    that it gives to their pods.
    """
    owner = next((each for each in pod.metadata.owner_references if each.controller), None)
    own = f"{deployment}-{pod.metadata.labels.get('pod-template-hash', '')}"
    return owner is not None and (owner.kind, owner.name) == ("ReplicaSet", own)


def choose_container(pod: Pod, wanted: str | None) -> str:
    """Return the container asked for, else the annotated one, else the first that no mesh brought.

    Raises:
        UserError: The pod has no such container.
    """
    names = [c.name for c in pod.spec.containers]
    lasting = [*names, *(c.name for c in pod.spec.init_containers if c.restart_policy == "Always")]
    if wanted is not None:
        if wanted in lasting:
            return wanted
        raise UserError(
            f"Pod '{pod.metadata.name}' has no container '{wanted}'.",
            hint=f"It has: {', '.join(lasting)}.",
            exit_code=ExitCode.TARGET_NOT_FOUND,
        )
    annotated = pod.metadata.annotations.get(DEFAULT_CONTAINER, "")
    if annotated in names:
        return annotated
    return next((name for name in names if name not in SIDECARS), names[0])


def found(pod: Pod, container: str, kube_namespace: str) -> Found:
    """Return what there is to know about a container of `pod`.

    Raises:
        UserError: Pod or container does not run.
    """
    name = pod.metadata.name
    look = f"See 'kubectl -n {kube_namespace} describe pod {name}'."
    statuses = [*pod.status.container_statuses, *pod.status.init_container_statuses]
    status = next((s for s in statuses if s.name == container), None)
    if has_ended_before(status):
        look = f"See 'kubectl -n {kube_namespace} logs {name} -c {container} --previous'."
    if pod.spec.is_windows:
        raise UserError(
            f"Pod '{name}' (namespace '{kube_namespace}') runs on Windows, and the agent on Linux only.",
            hint="Choose another: see 'inpod ls'.",
            exit_code=ExitCode.NO_MEANS,
        )
    if pod.status.phase != "Running" or pod.metadata.deletion_timestamp:
        raise UserError(
            f"Pod '{name}' (namespace '{kube_namespace}') does not run: {state_of(pod)}.",
            hint=look,
            exit_code=ExitCode.TARGET_NOT_READY,
        )
    _, scheme, container_id = (status.container_id if status else "").partition("://")
    if status is None or status.state.running is None or not scheme:
        raise UserError(
            f"Container '{container}' of pod '{name}' does not run: {container_state(status)}.",
            hint=look,
            exit_code=ExitCode.TARGET_NOT_READY,
        )
    spec: list[Container] = [*pod.spec.containers, *pod.spec.init_containers]
    mounts = next(c.volume_mounts for c in spec if c.name == container)
    return Found(
        kube_namespace=kube_namespace,
        pod=name,
        container=container,
        container_id=container_id,
        node=pod.spec.node_name,
        mounts=tuple(sorted({mount.mount_path.rstrip("/") or "/" for mount in mounts})),
        probe_ports=tuple(sorted(set[int]().union(*(container.probe_ports() for container in spec)))),
        pod_ip=pod.status.pod_ip,
        is_host_network=pod.spec.host_network,
        addresses=tuple(address.ip for address in pod.status.pod_ips),
        pull_secrets=tuple(secret.name for secret in pod.spec.image_pull_secrets),
    )


def _not_found(kind: str, name: str, kube_namespace: str, *, pods: list[str], deployments: list[str]) -> UserError:
    here, other, other_kind = (pods, deployments, "deployment") if kind == "pod" else (deployments, pods, "pod")
    if name in other:
        hint = f"There is a {other_kind} of that name: --target {other_kind}/{name}."
    else:
        hint = (
            _did_you_mean(name, here, f"--target {kind}/")
            or _did_you_mean(name, other, f"--target {other_kind}/")
            or f"See 'inpod ls -n {kube_namespace}', or name another namespace with -n."
        )
    return UserError(
        f"There is no {kind} '{name}' in namespace '{kube_namespace}'.",
        hint=hint,
        exit_code=ExitCode.TARGET_NOT_FOUND,
    )


def _did_you_mean(name: str, there: list[str], before: str) -> str:
    # A pod's name is often typed without its random end.
    close = [n for n in there if n.startswith(name)] or difflib.get_close_matches(name, there, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(before + n for n in close[:3])}?" if close else ""
