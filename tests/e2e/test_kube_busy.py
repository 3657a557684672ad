"""An API server that is too busy sends calls away, and they come again when it says so."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.targets.kube.cluster import Cluster as Client
from inpod.targets.kube.objects import Listing
from inpod.targets.kube.pod_objects import Pod
from inpod.targets.kube.resolve import pods_path
from tests.e2e.cluster import Namespace
from tests.e2e.kube import NO_CREDENTIALS, kubeconfig_with, run
from tests.e2e.test_kube_login import admin_token as admin_token  # the fixture

AT_ONCE = 8
ROUNDS = 20
GROUP = "flowcontrol.apiserver.k8s.io"


@pytest.fixture
def small_level(targets: Namespace) -> Iterator[str]:
    """The name of a priority level that serves one call of the service account at a time, and queues none."""
    name = targets.name
    robot = {"namespace": name, "name": "robot"}
    shares = {"nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    level = {"type": "Limited", "limited": {**shares, "limitResponse": {"type": "Reject"}}}
    schema = {
        "priorityLevelConfiguration": {"name": name},
        "matchingPrecedence": 100,
        "rules": [
            {"subjects": [{"kind": "ServiceAccount", "serviceAccount": robot}], "resourceRules": [everything]},
        ],
    }
    for kind, spec in (("PriorityLevelConfiguration", level), ("FlowSchema", schema)):
        made = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        targets.cluster.kubectl("apply", "-f", "-", text=json.dumps(made))
    yield name
    targets.cluster.kubectl("delete", f"flowschema.{GROUP}/{name}", f"prioritylevelconfiguration.{GROUP}/{name}")


def sent_away(here: Namespace, level: str) -> int:
    lines = here.cluster.kubectl("get", "--raw", "/metrics").splitlines()
    name = "apiserver_flowcontrol_rejected_requests_total"
    return sum(int(line.split()[-1]) for line in lines if line.startswith(name) and f'"{level}"' in line)


def test_calls_that_a_busy_server_sends_away_come_again(
    targets: Namespace, tmp_path: Path, admin_token: str, small_level: str
) -> None:
    user = {**NO_CREDENTIALS, "token": admin_token}
    kubeconfig = kubeconfig_with(targets.cluster, tmp_path / "k", user=user)

    async def story() -> None:
        async with await Client.connect(kubeconfig=kubeconfig, namespace=targets.name) as client:
            for _ in range(ROUNDS):
                calls = [client.get(pods_path(targets.name), Listing[Pod]) for _ in range(AT_ONCE)]
                assert all(found.items for found in await asyncio.gather(*calls))
                # The level takes a moment to be in force.
                if sent_away(targets, small_level):
                    return
        pytest.fail("the server was never busy")

    run(story())
