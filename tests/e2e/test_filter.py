"""Filters, sharing and the kubelet's probes in a real cluster."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import PORT, Namespace, until
from tests.e2e.kube import wait_until_nothing_is_left
from tests.netns.test_filter import SERVER, event
from tests.processes import end, next_line

PROBE = {"httpGet": {"path": "/count", "port": PORT}, "periodSeconds": 1, "failureThreshold": 1}

ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
for user in json.loads(sys.argv[3]):
    connection.request("GET", "/" + user, headers={"X-User": user})
    print(connection.getresponse().read().decode())
"""


@contextmanager
def developer(
    here: Namespace, target: str, folder: Path, name: str, incoming: dict[str, object]
) -> Iterator["subprocess.Popen[str]"]:
    """A session whose program answers with `name`; ready once the port is subscribed."""
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"feature": {"network": {"incoming": incoming}}}))
    options = ["-t", target, "-n", here.name, "-i", here.cluster.image, "-f", str(config), "--progress", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "inpod", "exec", *options, "--", sys.executable, "-c", SERVER, name, str(PORT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "KUBECONFIG": here.cluster.kubeconfig},
    ) as process:
        try:
            event(process, "PortSubscribed")
            yield process
        finally:
            end(process)


def answers(here: Namespace, address: str, *users: str) -> list[str]:
    """Return who answered each request of one connection that another pod makes."""
    said = here.inside("client", ASK, address, str(PORT), json.dumps(users))
    return [line.split()[0] for line in said.splitlines()]


def test_two_developers_share_a_pod(targets: Namespace, tmp_path: Path) -> None:
    address = str(targets.pod_of("web")["status"]["podIP"])
    users = ("alice", "bob", "carol", "alice")

    def steal(user: str) -> dict[str, object]:
        return {"mode": "steal", "http_filter": {"header_filter": f"^x-user: {user}$"}}

    with developer(targets, "pod/web", tmp_path, "alice", steal("alice")):
        with developer(targets, "pod/web", tmp_path, "bob", steal("bob")):
            assert answers(targets, address, *users) == ["alice", "bob", "original", "alice"]
        until(
            "bob is gone",
            lambda: answers(targets, address, *users) == ["alice", "original", "original", "alice"],
        )
    wait_until_nothing_is_left(targets)
    assert answers(targets, address, *users) == ["original"] * 4


def test_probes_of_the_kubelet_stay_the_originals(targets: Namespace, tmp_path: Path) -> None:
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe", "value": PROBE}]
    targets.kubectl("patch", "deployment/orders", "--type=json", "-p", json.dumps(patch))
    targets.kubectl("rollout", "status", "deployment/orders", "--timeout=60s")
    pod = until("the old pod is gone", lambda: only_pod(targets, "orders"))
    assert pod is not None
    with developer(targets, "deployment/orders", tmp_path, "alice", {"mode": "steal"}) as alice:
        assert next_line(alice.stdout) == "ready"
        assert answers(targets, pod["address"], "bob") == ["alice"]
        assert next_line(alice.stdout) == "GET /bob"
        # Several probes, each of which is told when it goes past the program.
        assert "kubelet" in str(event(alice, "PortTraffic")["why"])
        assert "kubelet" in str(event(alice, "PortTraffic")["why"])
        assert answers(targets, pod["address"], "carol") == ["alice"]
        assert next_line(alice.stdout) == "GET /carol", "a probe came to the program"
        assert only_pod(targets, "orders") == {**pod, "ready": "True"}
    wait_until_nothing_is_left(targets)


def only_pod(here: Namespace, app: str) -> dict[str, str] | None:
    """Return name, address and readiness of the pod of an app, when there is but one."""
    items = here.cluster.get("pods", "-n", here.name, "-l", f"app={app}")["items"]
    if len(items) != 1:
        return None
    status = items[0]["status"]
    ready = next(each["status"] for each in status["conditions"] if each["type"] == "Ready")
    return {"name": items[0]["metadata"]["name"], "address": status["podIP"], "ready": ready}
