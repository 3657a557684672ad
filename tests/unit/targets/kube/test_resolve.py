import asyncio

import msgspec
import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.pod_objects import Deployment, Pod
from inpod.targets.kube.resolve import Found, choose_container, choose_pod, found

ID = "c0ffee" * 10


def make_pod(name: str = "api-1", **changes: object) -> Pod:
    """Return a pod as the API server would tell it; `changes` are paths with "__" between their parts."""
    raw: dict[str, object] = {
        "metadata": {
            "name": name,
            "creationTimestamp": "2026-11-23T10:00:00Z",
            "labels": {"pod-template-hash": "7d9f8"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "api-7d9f8", "controller": True}],
        },
        "spec": {
            "nodeName": "node1",
            "initContainers": [{"name": "setup"}, {"name": "logs", "restartPolicy": "Always"}],
            "containers": [
                {"name": "istio-proxy"},
                {"name": "web", "volumeMounts": [{"mountPath": "/etc/b/"}, {"mountPath": "/a"}, {"mountPath": "/a"}]},
                {"name": "metrics"},
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": "web", "ready": True, "containerID": f"containerd://{ID}", "state": {"running": {}}},
                {"name": "metrics", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            ],
            "initContainerStatuses": [
                {"name": "logs", "containerID": "containerd://1095", "state": {"running": {"startedAt": "now"}}},
            ],
        },
    }
    for path, value in changes.items():
        *parents, last = path.split("__")
        at = raw
        for part in parents:
            at = at.setdefault(part, {})  # type: ignore[assignment]  # only objects are named
        at[last] = value
    return msgspec.convert(raw, Pod)


def make_deployment(replicas: int = 1) -> Deployment:
    raw = {
        "metadata": {"name": "api"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "api"}}, "template": {"spec": {}}},
    }
    return msgspec.convert(raw, Deployment)


def test_running_container_is_found_with_its_mounts() -> None:
    assert found(make_pod(), "web", "shop") == Found(
        kube_namespace="shop",
        pod="api-1",
        container="web",
        container_id=ID,
        node="node1",
        mounts=("/a", "/etc/b"),
        pod_ip="10.0.0.7",
    )


def test_sidecar_among_init_containers_can_be_asked_for() -> None:
    pod = make_pod()
    assert found(pod, choose_container(pod, "logs"), "shop").container_id == "1095"


def test_first_container_that_no_mesh_brought_is_chosen() -> None:
    assert choose_container(make_pod(), None) == "web"


def test_annotated_container_is_chosen_before_the_first() -> None:
    pod = make_pod(metadata__annotations={"kubectl.kubernetes.io/default-container": "metrics"})
    assert choose_container(pod, None) == "metrics"
    stale = make_pod(metadata__annotations={"kubectl.kubernetes.io/default-container": "gone"})
    assert choose_container(stale, None) == "web"


def test_pod_of_a_mesh_only_gives_its_first_container() -> None:
    assert choose_container(make_pod(spec__containers=[{"name": "istio-proxy"}]), None) == "istio-proxy"


@pytest.mark.parametrize("wanted", ["db", "setup"])
def test_container_that_is_not_there_lists_those_that_are(wanted: str) -> None:
    with pytest.raises(UserError, match=f"Pod 'api-1' has no container '{wanted}'") as caught:
        choose_container(make_pod(), wanted)
    assert caught.value.hint == "It has: istio-proxy, web, metrics, logs."
    assert caught.value.exit_code == ExitCode.TARGET_NOT_FOUND


@pytest.mark.parametrize(
    ("pod", "container", "says"),
    [
        (make_pod(status__phase="Pending"), "web", "container metrics: CrashLoopBackOff"),
        (make_pod(status__phase="Succeeded", status__containerStatuses=[]), "web", "it has ended (Succeeded)."),
        (
            make_pod(
                status__phase="Failed",
                status__containerStatuses=[{"name": "web", "state": {"terminated": {"exitCode": 3}}}],
            ),
            "web",
            "container web ended with exit code 3.",
        ),
        (
            make_pod(
                status__phase="Failed",
                status__reason="Evicted",
                status__message="The node was low on resource: memory. ",
            ),
            "web",
            "Evicted: The node was low on resource: memory.",
        ),
        (make_pod(metadata__deletionTimestamp="2026-11-23T10:00:00Z"), "web", "it is being deleted"),
        (make_pod(), "metrics", "CrashLoopBackOff"),
        (make_pod(), "istio-proxy", "it has not started"),
        (
            make_pod(status__containerStatuses=[{"name": "web", "state": {"terminated": {"exitCode": 3}}}]),
            "web",
            "it ended with exit code 3",
        ),
        (
            make_pod(
                status__phase="Pending",
                status__containerStatuses=[],
                status__conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}],
            ),
            "web",
            "0/1 nodes are available",
        ),
    ],
)
def test_what_does_not_run_says_why(pod: Pod, container: str, says: str) -> None:
    with pytest.raises(UserError, match="does not run") as caught:
        found(pod, container, "shop")
    assert says in caught.value.message
    assert caught.value.exit_code == ExitCode.TARGET_NOT_READY


def test_youngest_ready_pod_of_a_deployment_is_chosen() -> None:
    old = make_pod("old")
    young = make_pod("young", metadata__creationTimestamp="2026-11-23T11:00:00Z")
    unready = make_pod("unready", metadata__creationTimestamp="2026-11-23T12:00:00Z", status__conditions=[])
    dying = make_pod("dying", metadata__deletionTimestamp="x", metadata__creationTimestamp="2026-11-23T13:00:00Z")
    assert choose_pod(make_deployment(), [old, young, unready, dying], "shop") is young


@pytest.mark.parametrize(
    ("deployment", "pods", "says"),
    [
        (make_deployment(0), [], "it is scaled to 0"),
        (make_deployment(), [], "it has no pods"),
        (make_deployment(), [make_pod(status__conditions=[])], "api-1: container metrics: CrashLoopBackOff"),
        (
            make_deployment(),
            [
                make_pod(
                    "other-1",
                    metadata__ownerReferences=[{"kind": "ReplicaSet", "name": "other-7d9f8", "controller": True}],
                )
            ],
            "it has no pods (of those that its selector matches none is its own: other-1)",
        ),
        (make_deployment(), [make_pod("stray", metadata__ownerReferences=[])], "none is its own: stray)"),
    ],
)
def test_deployment_without_a_ready_pod_says_why(deployment: Deployment, pods: list[Pod], says: str) -> None:
    with pytest.raises(UserError, match="No pod of deployment 'api' is ready") as caught:
        choose_pod(deployment, pods, "shop")
    assert says in caught.value.message
    assert caught.value.exit_code == ExitCode.TARGET_NOT_READY


@pytest.mark.parametrize(
    "pod",
    [
        make_pod(spec__os={"name": "windows"}),
        make_pod(spec__nodeSelector={"kubernetes.io/os": "windows"}),
    ],
)
def test_pod_on_windows_is_refused(pod: Pod) -> None:
    with pytest.raises(UserError, match="runs on Windows, and the agent on Linux only") as caught:
        found(pod, "web", "shop")
    assert caught.value.exit_code == ExitCode.NO_MEANS


def test_selector_is_written_as_the_api_asks_for_it() -> None:
    raw = {
        "matchLabels": {"app": "api"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "x", "operator": "NotIn", "values": ["c"]},
            {"key": "y", "operator": "Exists"},
            {"key": "z", "operator": "DoesNotExist"},
        ],
    }
    deployment = msgspec.convert({"metadata": {}, "spec": {"selector": raw, "template": {"spec": {}}}}, Deployment)
    assert deployment.spec.selector.query() == "app=api,tier in (a,b),x notin (c),y,!z"


@pytest.mark.parametrize("name", ["a/b", "default/pods?limit=1#", "../default", "", "Upper", "-a"])
def test_a_namespace_that_cannot_be_one_is_refused_before_anything_is_asked(name: str) -> None:
    with pytest.raises(UserError, match="cannot be a namespace's name"):
        asyncio.run(Cluster.connect(namespace=name))
