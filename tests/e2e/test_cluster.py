"""The cluster and the target pods give what the other tests here take for granted."""

import json
import socket
from typing import Any

import pytest

from tests.e2e.cluster import PORT, Namespace, until

GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"

FIND_PROGRAM = """
import os, pathlib, sys
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if path.parent.name != str(os.getpid()) and sys.argv[1].encode() in path.read_bytes():
        print("found")
"""

LOOK_AROUND = """
import json, os, stat
secret = os.stat("/tmp/pod-secret.txt")
print(json.dumps({
    "uid": os.getuid(), "secret": [secret.st_uid, stat.S_IMODE(secret.st_mode)], "greeting": os.environ["GREETING"],
    "settings": open("/etc/app/settings.txt").read(), "token": open("/run/secrets/app/token").read(),
}))
"""


def test_pod_answers_another_pod_through_its_service(targets: Namespace) -> None:
    client = targets.pod_of("client")["status"]["podIP"]
    assert targets.inside("client", GET, "http://web/hello") == f"original web /hello {client}"


def test_pod_counts_what_it_answered(targets: Namespace) -> None:
    before = int(targets.inside("client", GET, "http://web/count"))
    targets.inside("client", GET, "http://web/once")
    assert int(targets.inside("client", GET, "http://web/count")) == before + 1


def test_pod_answers_over_ipv6(targets: Namespace) -> None:
    assert targets.inside("web", GET, f"http://[::1]:{PORT}/six") == "original web /six ::1"


def test_deployment_answers_through_its_service(targets: Namespace) -> None:
    pod = targets.pod_of("orders")["metadata"]["name"]
    assert targets.inside("client", GET, "http://orders/list").startswith(f"original {pod} /list ")


def test_target_is_an_ordinary_user_with_files_and_environment_of_its_own(targets: Namespace) -> None:
    assert json.loads(targets.inside("web", LOOK_AROUND)) == {
        "uid": 1000,
        "secret": [1000, 0o600],
        "greeting": "hello from the pod",
        "settings": "colour is green",
        "token": "not-for-logs",
    }


def test_this_machine_reaches_no_pod_by_itself(targets: Namespace, request: pytest.FixtureRequest) -> None:
    """What arrives in a pod from here went through inpod."""
    if request.config.getoption("--kubeconfig"):
        pytest.skip("whether it does is the named cluster's affair")
    service = targets.get("services", "web")["spec"]["clusterIP"]
    pods = [(each["ip"], PORT) for each in targets.pod_of("web")["status"]["podIPs"]]
    for address, port in (*pods, (service, 80)):
        with pytest.raises(OSError, match=r"unreachable|No route"):
            socket.create_connection((address, port), timeout=5)


def test_image_that_no_registry_has_is_told_quickly(namespace: Namespace) -> None:
    namespace.kubectl("run", "lost", "--image=localhost/no-such-image:1")

    def reason() -> str:
        status = namespace.get("pods", "lost")["status"]
        waiting = [container["state"].get("waiting", {}) for container in status.get("containerStatuses", [])]
        return next((found["reason"] for found in waiting if "Image" in found.get("reason", "")), "")

    assert until("a reason", reason, within_s=20) in ("ErrImagePull", "ImagePullBackOff")


def test_pod_security_denies_a_look_at_the_node(namespace: Namespace) -> None:
    namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=restricted")
    job = _job(namespace, ["true"])
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "look"}, "spec": job["spec"]["template"]["spec"]}
    with pytest.raises(AssertionError, match=r'violates PodSecurity "restricted:latest".*hostPID'):
        namespace.kubectl("apply", "-f", "-", text=json.dumps(pod))


def test_service_account_without_a_role_has_no_rights(namespace: Namespace) -> None:
    account = f"--as=system:serviceaccount:{namespace.name}:default"
    assert namespace.kubectl("auth", "can-i", "list", "pods", account, check=False).strip() == "no"
    namespace.kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
    namespace.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace.name}:default")
    until("the role", lambda: namespace.kubectl("auth", "can-i", "list", "pods", account, check=False).strip() == "yes")


def test_job_sees_the_programs_of_its_node(targets: Namespace) -> None:
    node = targets.pod_of("web")["spec"]["nodeName"]
    job = _job(targets, ["python3", "-c", FIND_PROGRAM, "pod_server.py"], node=node)
    targets.kubectl("apply", "-f", "-", text=json.dumps(job))
    targets.kubectl("wait", "--for=condition=Complete", "job/look", "--timeout=60s")
    assert "found" in targets.kubectl("logs", "job/look")


def _job(namespace: Namespace, command: list[str], node: str | None = None) -> dict[str, Any]:
    container = {
        "name": "look",
        "image": namespace.cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": {"runAsUser": 0},
    }
    spec = {"hostPID": True, "nodeName": node, "restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "look"},
        "spec": {"backoffLimit": 0, "template": {"spec": spec}},
    }
