"""Fixtures: the cluster (paid once), a namespace of targets (once for a module), an empty namespace (for a test).

The targets of the next module start while a module runs.
"""

import contextlib
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.build import PYTHON_IMAGE
from tests.cluster.state import KUBECONFIG
from tests.e2e.cluster import Cluster, Namespace, apply_targets, wait_for_targets

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


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where probes are compiled."""
    return tmp_path_factory.mktemp("probes")


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """An empty namespace."""
    with _namespace(cluster) as found:
        yield found


class Ahead:
    """Namespaces of targets, of which one more is made than is needed, as long as modules are left."""

    def __init__(self, cluster: Cluster, needed: int) -> None:
        self._cluster = cluster
        self._left = needed
        self._made: list[tuple[Namespace, contextlib.ExitStack]] = []

    @contextlib.contextmanager
    def next(self) -> Iterator[Namespace]:
        """A namespace until the end of the block."""
        self.fill(2)
        found, undo = self._made.pop(0)
        with undo:
            wait_for_targets(found)
            yield found

    def fill(self, count: int) -> None:
        """Have as many that were not taken, or all that are needed."""
        while self._left and len(self._made) < count:
            undo = contextlib.ExitStack()
            made = undo.enter_context(_namespace(self._cluster))
            self._left -= 1
            self._made.append((made, undo))
            apply_targets(made)

    def close(self) -> None:
        """Delete what was not taken."""
        for _, undo in self._made:
            undo.close()


@pytest.fixture(scope="session")
def ahead(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Ahead]:
    """The targets of all modules of the run."""
    found = Ahead(cluster, len({item.path for item in request.session.items if "targets" in _fixtures(item)}))
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module")
def targets(ahead: Ahead) -> Iterator[Namespace]:
    """A namespace with pod `web`, deployments `api` and `orders`, and a pod `client` to ask from."""
    with ahead.next() as found:
        yield found
