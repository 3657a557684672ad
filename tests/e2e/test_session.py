"""Whole sessions in a real cluster: the list of targets, and a connection to the API server that breaks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.cluster import Namespace, until
from tests.e2e.kube import wait_until_nothing_is_left
from tests.e2e.test_filter import answers, developer
from tests.netns.test_filter import event
from tests.processes import LIMIT_S


def test_targets_are_listed(targets: Namespace) -> None:
    command = [sys.executable, "-m", "inpod", "ls", "-n", targets.name, "-o", "json"]
    environment = {**os.environ, "KUBECONFIG": targets.cluster.kubeconfig}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=True)
    found = {each["target"]: each for each in json.loads(done.stdout)}
    assert {"deployment/api", "deployment/orders", "pod/web", "pod/client"} <= found.keys()
    assert found["pod/web"]["containers"] == ["web"]
    assert found["deployment/api"]["is_ready"]


def test_a_session_survives_a_broken_connection(targets: Namespace, tmp_path: Path) -> None:
    address = str(targets.pod_of("web")["status"]["podIP"])
    server = targets.cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    port = urlsplit(server).port
    with developer(targets, "pod/web", tmp_path, "alice", {"mode": "steal"}) as alice:
        assert answers(targets, address, "bob") == ["alice"]
        # As a network that goes away does: both ends are reset, and nothing else on this machine.
        cut = f"( {' or '.join(f'src = :{local}' for local in ports_of(alice.pid, port))} )"
        subprocess.run(["ss", "-K", "-t", f"dport = :{port} and {cut}"], check=True, stdout=subprocess.DEVNULL)
        event(alice, "AgentLost")
        event(alice, "Reconnected")
        until("alice serves again", lambda: answers(targets, address, "carol") == ["alice"])
    wait_until_nothing_is_left(targets)
    assert answers(targets, address, "bob") == ["original"]


def ports_of(pid: int, remote: int | None) -> list[int]:
    """Return the local ports of a process's connections to a remote port."""
    said = subprocess.run(["ss", "-Htnp", f"dport = :{remote}"], capture_output=True, text=True, check=True).stdout
    mine = [line.split() for line in said.splitlines() if f"pid={pid}," in line]
    assert mine
    return [int(fields[3].rpartition(":")[2]) for fields in mine]
