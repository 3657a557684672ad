"""Fixtures: the cluster (paid once), a namespace of targets (once for a module), an empty namespace (for a test)."""

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.__main__ import KUBECONFIG
from tests.cluster.build import PYTHON_IMAGE
from tests.e2e.cluster import Cluster, Namespace, apply_targets

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The cluster that is named, or that of this machine, which is started if it is not there."""
    named = request.config.getoption("--kubeconfig")
    if named:
        return Cluster(named, request.config.getoption("--agent-image") or PYTHON_IMAGE)
    subprocess.run([sys.executable, "-m", "tests.cluster", "up"], cwd=REPOSITORY, check=True)
    return Cluster(str(KUBECONFIG), PYTHON_IMAGE)


@contextlib.contextmanager
def _namespace(cluster: Cluster) -> Iterator[Namespace]:
    name = f"inpod-test-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield Namespace(cluster, name)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """An empty namespace."""
    with _namespace(cluster) as found:
        yield found


@pytest.fixture(scope="module")
def targets(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace with pod `web`, deployments `api` and `orders`, and a pod `client` to ask from."""
    with _namespace(cluster) as found:
        apply_targets(found)
        yield found
