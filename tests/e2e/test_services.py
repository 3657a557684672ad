"""Services before the target: whether they lead to the program's port is seen, and told, without a request."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inpod.targets.kube.rights import RIGHTS
from tests.e2e.cluster import PORT, Namespace, until
from tests.e2e.kube import wait_until_nothing_is_left
from tests.e2e.test_filter import answers, developer
from tests.e2e.test_kube_rights import rules
from tests.e2e.test_kube_rights import user as user  # the fixture
from tests.netns.test_filter import event, warning
from tests.processes import LIMIT_S, next_line

STEAL: dict[str, object] = {"mode": "steal"}


@pytest.fixture(autouse=True)
def nothing_left(targets: Namespace) -> Iterator[None]:
    """No test leaves an agent."""
    yield
    wait_until_nothing_is_left(targets)


def apply(here: Namespace, name: str, labels: dict[str, str] | None = None, **spec: Any) -> None:
    metadata = {"name": name, "labels": labels or {}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    here.kubectl("apply", "-f", "-", text=json.dumps(service))


@pytest.fixture(scope="module")
def lone(targets: Namespace) -> str:
    """A pod that no Service is for."""
    container = {
        "name": "main",
        "image": targets.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "ports": [{"name": "http", "containerPort": PORT}],
    }
    metadata = {"name": "lone", "labels": {"app": "lone", "tier": "front"}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    targets.kubectl("apply", "-f", "-", text=json.dumps(pod))
    targets.kubectl("wait", "--for=condition=Ready", "pod/lone", "--timeout=60s")
    return "pod/lone"


@pytest.fixture
def service(targets: Namespace) -> Iterator[Callable[..., None]]:
    """Return what makes a Service called `lone`, until the test ends."""
    yield lambda labels=None, **spec: apply(targets, "lone", labels, **spec)
    targets.kubectl("delete", "service", "lone")


def status(session: "subprocess.Popen[str]") -> str:
    command = [sys.executable, "-m", "inpod", "status"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    return text[text.index(f"process {session.pid}\n") :]


@pytest.mark.parametrize("mode", ["steal", "mirror"])
def test_service_that_leads_to_the_port_is_tried_without_a_request(
    targets: Namespace, lone: str, service: Callable[..., None], tmp_path: Path, mode: str
) -> None:
    service(selector={"app": "lone"}, ipFamilyPolicy="PreferDualStack", ports=[{"port": 80, "targetPort": "http"}])
    with developer(targets, lone, tmp_path, "alice", {"mode": mode}) as alice:
        told = event(alice, "PortServices")
        assert told["services"] == ["service/lone:80 leads here, as a packet did just now"]
        assert "service/lone:80 leads here, as a packet did just now" in status(alice)
        if mode == "steal":
            address = str(targets.get("services", "lone")["spec"]["clusterIP"])
            assert answers(targets, address, "bob", port=80) == ["alice"]
            assert [next_line(alice.stdout), next_line(alice.stdout)] == ["ready", "GET /bob"]


def test_service_that_is_made_later_is_found_by_who_asks(
    targets: Namespace, lone: str, service: Callable[..., None], tmp_path: Path
) -> None:
    service(selector={"app": "another"}, ports=[{"port": 80}])
    with developer(targets, lone, tmp_path, "alice", STEAL) as alice:
        why = "service/lone does not select this pod: it wants app=another, the pod has app=lone"
        assert event(alice, "PortServices")["services"] == [why]
        service(selector={"app": "lone"}, ports=[{"port": 80, "targetPort": "http"}])
        assert "service/lone:80 leads here, as a packet did just now" in status(alice)
        assert event(alice, "PortServices")["services"] == ["service/lone:80 leads here, as a packet did just now"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (
            {"selector": {"app": "lone"}, "ports": [{"port": 80, "targetPort": 8081}]},
            "service/lone has no port that leads to 8080; it leads 80 to 8081 (targetPort)",
        ),
        (
            {"selector": {"app": "lone"}, "ports": [{"port": 80, "targetPort": "web"}]},
            "service/lone has no port that leads to 8080; it leads 80 to a port 'web', which the pod does not name (targetPort)",
        ),
        (
            {"selector": {"app": "other", "tier": "front"}, "ports": [{"port": 80, "targetPort": 8080}]},
            "service/lone does not select this pod: it wants app=other, the pod has app=lone",
        ),
    ],
    ids=["wrong target port", "name that the pod has not", "wrong label"],
)
def test_service_that_does_not_lead_to_the_port_is_told_with_the_reason(
    targets: Namespace, lone: str, service: Callable[..., None], tmp_path: Path, spec: dict[str, Any], why: str
) -> None:
    service(**spec)
    with developer(targets, lone, tmp_path, "alice", STEAL) as alice:
        told = event(alice, "PortServices")
        assert told["services"] == [why]
        while event(alice, "Note")["text"] != f"Port {PORT}: {why}.":
            pass


def test_service_whose_packets_do_not_arrive_is_told(
    targets: Namespace, lone: str, service: Callable[..., None], tmp_path: Path
) -> None:
    # The nodes' kube-proxy leaves it to another one, which there is not.
    service({"service.kubernetes.io/service-proxy-name": "none"}, selector={"app": "lone"}, ports=[{"port": PORT}])
    with developer(targets, lone, tmp_path, "alice", STEAL) as alice:
        assert f"service/lone:{PORT} leads here by its definition, but a packet to " in warning(alice)


def test_other_pods_behind_the_service_are_told(targets: Namespace, tmp_path: Path) -> None:
    targets.kubectl("scale", "deployment/orders", "--replicas=2")
    targets.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/orders", "--timeout=60s")
    with developer(targets, "deployment/orders", tmp_path, "alice", STEAL) as alice:
        why = "service/orders:80 leads here and to 1 other pod: what it gets does not come to this session"
        assert event(alice, "PortServices")["services"] == [why]


@pytest.mark.parametrize(
    ("resource", "is_ephemeral"),
    # Nothing else of a session needs to list pods when its agent is in the pod that is named.
    [("services", False), ("pods", True)],
)
def test_without_the_right_the_rest_works(
    targets: Namespace,
    lone: str,
    service: Callable[..., None],
    user: Callable[[list[dict[str, Any]]], str],
    tmp_path: Path,
    resource: str,
    is_ephemeral: bool,
) -> None:
    assert any((right.verb, right.resource) == ("list", resource) for right in RIGHTS)
    service(selector={"app": "lone"}, ports=[{"port": 80, "targetPort": PORT}])
    kubeconfig = user(rules(("list", resource), is_ephemeral=is_ephemeral))
    here = Namespace(replace(targets.cluster, kubeconfig=kubeconfig), targets.name)
    with developer(here, lone, tmp_path, "alice", STEAL, ephemeral=is_ephemeral) as alice:
        services = event(alice, "PortServices")["services"]
        assert services == [
            f"whether a service leads here is not known: no right to list {resource} in namespace '{targets.name}'"
        ]
        address = str(targets.pod_of("lone")["status"]["podIP"])
        assert until("it comes", lambda: answers(targets, address, "bob") == ["alice"])
