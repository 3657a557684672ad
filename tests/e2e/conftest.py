"""Fixtures: the cluster (paid once), a namespace of targets (once for a module), an empty namespace (for a test)."""

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.build import PYTHON_IMAGE
from tests.cluster.state import KUBECONFIG
from tests.e2e.cluster import Cluster, Namespace, apply_targets

REPOSITORY = Path(__file__).parent.parent.parent
UP = [sys.executable, "-m", "tests.cluster", "up"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the cluster before the first test: a first build takes longer than a test may.

    What fails here fails again in the fixture, and there only the tests that need it.
    """
    options = session.config.option
    if not (options.collectonly or options.kubeconfig) and any("cluster" in _fixtures(item) for item in session.items):
        subprocess.run(UP, cwd=REPOSITORY)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """The cluster that is named, or that of this machine, which is started if it is not there."""
    named = request.config.getoption("--kubeconfig")
    image = PYTHON_IMAGE
    if named:
        image = request.config.getoption("--agent-image") or image
    else:
        subprocess.run(UP, cwd=REPOSITORY, check=True)
    with Cluster.reached(named or str(KUBECONFIG), image) as found:
        yield found


def _fixtures(item: pytest.Item) -> list[str]:
    names: list[str] = getattr(item, "fixturenames", [])
    return names


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
