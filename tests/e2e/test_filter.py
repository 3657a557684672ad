"""Filters, sharing and the kubelet's probes in a real cluster."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import PORT, Namespace, until
from tests.e2e.kube import inpod_exec, wait_until_nothing_is_left
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
    here: Namespace, target: str, folder: Path, name: str, incoming: dict[str, object], **agent: object
) -> Iterator["subprocess.Popen[str]"]:
    """A session whose program answers with `name`; ready once the port is subscribed."""
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"agent": agent, "feature": {"network": {"incoming": incoming}}}))
    options = ["-f", str(config), "--progress", "json"]
    with inpod_exec(here, target, options, [sys.executable, "-c", SERVER, name, str(PORT)]) as process:
        try:
            event(process, "PortSubscribed")
            yield process
        finally:
            end(process)


def answers(here: Namespace, address: str, *users: str, port: int = PORT) -> list[str]:
    """Return who answered each request of one connection that another pod makes."""
    said = here.inside("client", ASK, address, str(port), json.dumps(users))
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
    pod = probed(targets)
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


def test_probes_come_to_the_program_if_asked(targets: Namespace, tmp_path: Path) -> None:
    probed(targets)
    incoming: dict[str, object] = {"mode": "steal", "steal_probes": True}
    with developer(targets, "deployment/orders", tmp_path, "alice", incoming) as alice:
        assert [next_line(alice.stdout), next_line(alice.stdout)] == ["ready", "GET /count"]
    wait_until_nothing_is_left(targets)


def probed(here: Namespace) -> dict[str, str]:
    """Return the only pod of `orders`, which the kubelet asks for its health by HTTP."""
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe", "value": PROBE}]
    here.kubectl("patch", "deployment/orders", "--type=json", "-p", json.dumps(patch))
    here.kubectl("rollout", "status", "deployment/orders", "--timeout=60s")
    pod = until("the old pod is gone", lambda: only_pod(here, "orders"))
    assert pod is not None
    return pod


GRPC_HEALTH = """
import socket, struct, sys, threading
def frame(kind, flags, stream, data=b""):
    return struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data
def text(data):
    return bytes([len(data)]) + data
HEAD = b"\\x88\\x0f\\x10" + text(b"application/grpc")
END = b"\\x00" + text(b"grpc-status") + text(b"0")
def serve(sock):
    file = sock.makefile("rb")
    if not file.read(24).startswith(b"PRI"):
        return sock.close()
    sock.sendall(frame(4, 0, 0))
    while len(head := file.read(9)) == 9:
        size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
        data = file.read(size)
        if kind in (4, 6) and not flags & 1:
            sock.sendall(frame(kind, 1, 0, data if kind == 6 else b""))
        if kind in (0, 1) and flags & 1:
            answer = frame(0, 0, stream, bytes(4) + b"\\x02\\x08\\x01")
            sock.sendall(frame(1, 4, stream, HEAD) + answer + frame(1, 5, stream, END))
listener = socket.create_server(("0.0.0.0", 9090))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],)).start()
"""
"""Answers whatever is asked by gRPC that it is well (grpc.health.v1: SERVING); nobody else."""


def test_probes_by_grpc_stay_the_originals(targets: Namespace, tmp_path: Path) -> None:
    container = {
        "name": "web",
        "image": targets.cluster.image,
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", GRPC_HEALTH],
        "readinessProbe": {"grpc": {"port": 9090}, "periodSeconds": 1, "failureThreshold": 1},
    }
    metadata = {"name": "health", "labels": {"app": "health"}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    targets.kubectl("apply", "-f", "-", text=json.dumps(pod))
    targets.kubectl("wait", "--for=condition=Ready", "pod/health", "--timeout=60s")
    before = only_pod(targets, "health")
    assert before is not None
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"feature": {"network": {"incoming": "steal"}}}))
    options = ["-f", str(config), "--progress", "json"]
    program = [sys.executable, "-c", SERVER, "alice", "9090"]
    with inpod_exec(targets, "pod/health", options, program) as alice:
        try:
            event(alice, "PortSubscribed")
            for _ in range(3):
                assert "kubelet" in str(event(alice, "PortTraffic")["why"])
            assert targets.inside("client", ASK, before["address"], "9090", json.dumps(["bob"])).split()[0] == "alice"
            assert only_pod(targets, "health") == before
        finally:
            end(alice)


def only_pod(here: Namespace, app: str) -> dict[str, str] | None:
    """Return name, address and readiness of the pod of an app, when there is but one."""
    items = here.get("pods", labels=f"app={app}")["items"]
    if len(items) != 1:
        return None
    status = items[0]["status"]
    ready = next(each["status"] for each in status["conditions"] if each["type"] == "Ready")
    return {"name": items[0]["metadata"]["name"], "address": status["podIP"], "ready": ready}
