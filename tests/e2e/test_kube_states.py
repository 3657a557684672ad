"""Pods, deployments and namespaces in the states that they get into, in a real cluster: what is said of each."""

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.list import list_targets
from tests.e2e.cluster import Namespace, until
from tests.e2e.kube import make_target, refused, run, wait_until_nothing_is_left

SLEEPS = "import signal; signal.pause()"


@pytest.fixture(autouse=True)
def nothing_left(targets: Namespace) -> Iterator[None]:
    """No test leaves an agent."""
    yield
    wait_until_nothing_is_left(targets)


def container(image: str, code: str = SLEEPS, name: str = "web") -> dict[str, Any]:
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent", "command": ["python3", "-c", code]}


def put(here: Namespace, kind: str, name: str, spec: dict[str, Any], api: str = "v1", **metadata: Any) -> None:
    made = {"apiVersion": api, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}
    here.kubectl("apply", "-f", "-", text=json.dumps(made))


def put_pod(here: Namespace, name: str, *containers: dict[str, Any], labels: Any = None, **spec: Any) -> None:
    image = here.cluster.image
    put(
        here,
        "Pod",
        name,
        {"terminationGracePeriodSeconds": 0, "containers": list(containers) or [container(image)], **spec},
        labels=labels or {},
    )


def put_nowhere(here: Namespace, name: str, status: dict[str, Any] | None = None, **spec: Any) -> None:
    """Make a pod of which its node says that it runs, and nothing more: it lost its network, say, or has another system.

    Args:
        status: Of its container, in the place of one that runs.
    """
    put_pod(here, name, nodeName="no-node", **spec)
    status = status or {"state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    of = {"name": "web", "ready": False, "restartCount": 0, "image": "", "imageID": "", "containerID": "containerd://0"}
    change = {"status": {"phase": "Running", "containerStatuses": [{**of, **status}]}}
    here.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps(change))


def until_said(here: Namespace, target: str, says: str) -> UserError:
    """Return what is told of a target, once it has the words."""
    seen: list[UserError] = []

    def is_said() -> bool:
        seen.append(refused(here, target))
        assert seen[-1].exit_code == ExitCode.TARGET_NOT_READY
        return says in seen[-1].message

    until(says, is_said, within_s=60)
    assert ".." not in seen[-1].line
    return seen[-1]


def test_pod_that_ended_or_does_not_begin_says_why_and_where_to_look(namespace: Namespace) -> None:
    image = namespace.cluster.image
    put_pod(namespace, "done", container(image, "pass"), restartPolicy="Never")
    put_pod(namespace, "late", activeDeadlineSeconds=1)
    put_pod(namespace, "first", initContainers=[container(image, name="wait-for-db")])
    put_pod(namespace, "large", {**container(image), "resources": {"requests": {"memory": "9000Gi"}}})
    for name, phase in (("done", "Succeeded"), ("late", "Failed")):
        namespace.kubectl("wait", f"--for=jsonpath={{.status.phase}}={phase}", f"pod/{name}", "--timeout=60s")
    until_said(namespace, "pod/done", "does not run: it has ended (Succeeded)")
    until_said(namespace, "pod/late", "does not run: DeadlineExceeded: Pod was active on the node longer than")
    until_said(namespace, "pod/first", "does not run: its init container wait-for-db has not ended")
    until_said(namespace, "pod/large", "Insufficient memory")


def test_container_that_crashes_says_how_it_ended_and_where_its_log_is(targets: Namespace) -> None:
    """Not a real one: between two ends it runs for a moment."""
    ended = {"exitCode": 3, "reason": "Error"}
    waits = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}}
    put_nowhere(targets, "crash", {"state": waits, "lastState": {"terminated": ended}})
    error = refused(targets, "pod/crash")
    says = "does not run: it ended with exit code 3, and is started again later (CrashLoopBackOff)."
    assert error.message == f"Container 'web' of pod 'crash' {says}"
    assert error.hint == f"See 'kubectl -n {targets.name} logs crash -c web --previous'."
    assert error.exit_code == ExitCode.TARGET_NOT_READY


def test_pod_on_windows_is_refused_before_anything_is_made(targets: Namespace) -> None:
    put_nowhere(targets, "windows", os={"name": "windows"})
    error = refused(targets, "pod/windows")
    assert error.message == f"Pod 'windows' (namespace '{targets.name}') runs on Windows, and the agent on Linux only."
    assert error.exit_code == ExitCode.NO_MEANS


def test_node_that_does_not_take_the_agent_is_named(targets: Namespace) -> None:
    put_nowhere(targets, "cut-off")
    error = refused(targets, "pod/cut-off", startup_timeout_s=4)
    assert error.message.endswith("still waiting for node no-node to take the agent's pod.")
    assert error.hint == "Wait longer with --agent-startup-timeout, or see 'kubectl describe node no-node'."
    assert error.exit_code == ExitCode.AGENT_START


def put_deployment(here: Namespace, name: str, replicas: int) -> None:
    labels = {"app": "api"}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container(here.cluster.image)]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    put(here, "Deployment", name, spec, "apps/v1")


def test_deployment_whose_pods_are_not_admitted_says_why(namespace: Namespace) -> None:
    namespace.kubectl("create", "quota", "none", "--hard=pods=0")
    until("the quota", lambda: "pods" in namespace.get("resourcequotas", "none")["status"].get("used", {}))
    put_deployment(namespace, "api", 1)
    error = until_said(namespace, "deployment/api", "exceeded quota: none")
    assert "it has no pods: pods " in error.message


def test_deployment_has_its_own_pods_only(namespace: Namespace) -> None:
    """Of those that its selector matches: another deployment's, and one that nobody owns, are not its own."""
    put_deployment(namespace, "api", 1)
    put_deployment(namespace, "none", 0)
    namespace.kubectl("wait", "--for=condition=Available", "deployment/api", "--timeout=60s")
    # The youngest: of its own it would be chosen.
    put_pod(namespace, "stray", labels={"app": "api"})
    namespace.kubectl("wait", "--for=condition=Ready", "pod/stray", "--timeout=60s")

    async def chosen() -> str:
        link = await make_target(namespace, "deployment/api").start_agent(lambda what: None)
        await link.close()
        return link.describes

    assert run(chosen()).startswith("pod api-")
    assert "it is scaled to 0" in refused(namespace, "deployment/none").message


def test_what_a_namespace_asks_of_containers_is_told_with_the_way_out(namespace: Namespace) -> None:
    put_pod(namespace, "web")
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    put(namespace, "LimitRange", "small", {"limits": [{"type": "Container", "min": {"memory": "64Mi"}}]})
    error = refused(namespace)
    assert error.message.startswith("A LimitRange does not allow the agent: ")
    assert "minimum memory usage per Container is 64Mi, but request is 32Mi" in error.message
    namespace.kubectl("delete", "limitrange", "small")
    namespace.kubectl("create", "quota", "limits", "--hard=limits.memory=1Gi")
    until(
        "the quota to count",
        lambda: "limits.memory" in namespace.get("resourcequotas", "limits")["status"].get("used", {}),
    )
    asked = refused(namespace)
    assert "must specify limits.memory" in asked.message
    # The way out that both name.
    for each in (error, asked):
        assert "or use -e" in each.hint
        assert each.exit_code == ExitCode.AGENT_START

    async def ephemeral() -> None:
        link = await make_target(namespace, "pod/web", is_ephemeral=True).start_agent(lambda what: None)
        await link.close()

    run(ephemeral())
    wait_until_nothing_is_left(namespace)


def test_kubeconfig_without_a_current_context_lists_those_that_are(targets: Namespace, tmp_path: Path) -> None:
    raw = json.loads(targets.cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    for unset in ({}, {"current-context": ""}):
        kept = {key: value for key, value in raw.items() if key != "current-context"}
        (tmp_path / "k").write_text(json.dumps({**kept, **unset}))
        error = refused(targets, kubeconfig=str(tmp_path / "k"))
        assert error.message == "The kubeconfig has no current context."
        assert (
            error.hint
            == f"Choose one with --context, or by 'kubectl config use-context': {raw['contexts'][0]['name']}."
        )
        assert error.exit_code == ExitCode.TARGET_NOT_FOUND
    with pytest.raises(UserError, match="has no current context"):
        run(list_targets(kubeconfig=str(tmp_path / "k")))


def test_context_that_is_named_needs_no_current_one(targets: Namespace, tmp_path: Path) -> None:
    raw = json.loads(targets.cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    context = raw["contexts"][0]["name"]
    kept = {key: value for key, value in raw.items() if key != "current-context"}
    for unset in ({}, {"current-context": ""}, {"current-context": "gone"}):
        (tmp_path / "k").write_text(json.dumps({**kept, **unset}))
        found = run(list_targets(kubeconfig=str(tmp_path / "k"), context=context, kube_namespace=targets.name))
        assert found[0] == targets.name


REGISTRY = Path(__file__).parent.parent / "programs" / "registry.py"


def test_agents_image_is_pulled_with_the_secrets_of_the_targets_pod(namespace: Namespace) -> None:
    """Of a registry with a password, in the node's network. Its image has no python3: that is told as soon as it is there."""
    image = namespace.cluster.image
    login = base64.b64encode(b"dev:" + secrets.token_hex(8).encode()).decode()
    port = str(20000 + secrets.randbelow(10000))
    registry = container(image, REGISTRY.read_text())
    registry["command"] += [port, f"Basic {login}"]
    put_pod(namespace, "registry", registry, hostNetwork=True)
    auths = {"auths": {f"127.0.0.1:{port}": {"auth": login}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(auths).encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "data": data}
    namespace.kubectl("apply", "-f", "-", text=json.dumps({**secret, "metadata": {"name": "login"}}))
    put_pod(namespace, "without")
    put_pod(namespace, "web", imagePullSecrets=[{"name": "login"}])
    namespace.kubectl("wait", "--for=condition=Ready", "pod/registry", "pod/without", "pod/web", "--timeout=60s")
    private = f"127.0.0.1:{port}/tools/python:3"
    error = refused(namespace, "pod/without", image=private)
    assert error.message.startswith(f"The agent's image '{private}' cannot be pulled: ")
    assert "401 Unauthorized" in error.message or "no basic auth credentials" in error.message
    assert refused(namespace, image=private).message == f"There is no python3 in the agent's image '{private}'."
    wait_until_nothing_is_left(namespace)
