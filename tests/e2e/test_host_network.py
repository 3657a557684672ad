"""A pod with its node's network: only the pod's own addresses are diverted."""

import json
import sys
from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace
from tests.e2e.kube import inpod_exec
from tests.netns.test_filter import SERVER, event
from tests.processes import end

PORT = 18081

ASK = """
import http.client, json, sys
hosts = json.loads(sys.argv[1])
for line in open("/proc/net/route").read().splitlines()[1:]:
    fields = line.split()
    if fields[1] == "00000000":
        hosts.append(".".join(str(byte) for byte in bytes.fromhex(fields[2])[::-1]))
for host in hosts:
    connection = http.client.HTTPConnection(host, int(sys.argv[2]), timeout=20)
    connection.request("GET", "/")
    print(host, connection.getresponse().read().decode().split()[0])
"""
"""Asks each host, and the gateway: another address of the node."""


@pytest.mark.parametrize(("redirect", "ephemeral"), [("sk_lookup", False), ("nftables", False), ("nftables", True)])
def test_other_addresses_of_the_node_stay_the_originals(
    targets: Namespace, redirect: str, ephemeral: bool, tmp_path: Path
) -> None:
    container = {
        "name": "web",
        "image": targets.cluster.image,
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", SERVER, "original", str(PORT)],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    spec = {"hostNetwork": True, "containers": [container], "terminationGracePeriodSeconds": 0}
    # The node's own name servers are not reached from here, and servers ask for the name of their host when they start.
    spec["dnsPolicy"] = "ClusterFirstWithHostNet"
    metadata = {"name": "host", "labels": {"app": "host"}}
    targets.kubectl(
        "apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    )
    targets.kubectl("wait", "--for=condition=Ready", "pod/host", "--timeout=60s")
    address = str(targets.pod_of("host")["status"]["podIP"])
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"agent": {"redirect": redirect, "ephemeral": ephemeral}}))
    options = ["--steal", "-f", str(config), "--progress", "json"]
    program = [sys.executable, "-c", SERVER, "program", str(PORT)]
    with inpod_exec(targets, "pod/host", options, program) as process:
        try:
            event(process, "PortSubscribed")
            said = targets.inside("client", ASK, json.dumps([address]), str(PORT)).splitlines()
            assert said[0] == f"{address} program"
            assert said[1].split()[0] != address
            assert said[1].split()[1] == "original"
        finally:
            end(process)
