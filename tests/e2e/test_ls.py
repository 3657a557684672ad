"""The list of targets of a real cluster."""

import json
import os
import subprocess
import sys

from tests.e2e.cluster import Namespace
from tests.processes import LIMIT_S


def test_targets_are_listed(targets: Namespace) -> None:
    command = [sys.executable, "-m", "inpod", "ls", "-n", targets.name, "-o", "json"]
    environment = {**os.environ, "KUBECONFIG": targets.cluster.kubeconfig}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=True)
    found = {each["target"]: each for each in json.loads(done.stdout)}
    assert {"deployment/api", "deployment/orders", "pod/web", "pod/client"} <= found.keys()
    assert found["pod/web"]["containers"] == ["web"]
    assert found["deployment/api"]["is_ready"]
