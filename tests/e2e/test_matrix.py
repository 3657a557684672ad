"""Unmodified programs stand in pods of a real cluster: environment, files, names, connections, incoming traffic."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import PORT, Namespace
from tests.matrix import MATRIX, Program, Remote, check, compile_probes

ASK = """
import json, sys, http.client
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
connection.connect()
client = connection.sock.getsockname()[0]
connection.request("GET", sys.argv[3], headers={"connection": "close"})
print(json.dumps([connection.getresponse().read().decode(), client]))
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled probes."""
    folder = tmp_path_factory.mktemp("probes")
    compile_probes(folder)
    return folder


@pytest.fixture(params=["pod", "deployment"])
def remote(request: pytest.FixtureRequest, targets: Namespace) -> Iterator[Remote]:
    """A pod, by its own name and by its deployment's."""
    app, target = ("web", "pod/web") if request.param == "pod" else ("api", "deployment/api")
    yield remote_of(targets, app, target)
    assert targets.jobs() == [], "an agent's Job was left"


def remote_of(targets: Namespace, app: str, target: str, *options: str) -> Remote:
    """Return an app's pod as the matrix needs it."""
    address = str(targets.pod_of(app)["status"]["podIP"])

    def ask(path: str) -> tuple[str, str]:
        body, client = json.loads(targets.inside("client", ASK, address, str(PORT), path))
        return str(body), str(client)

    return Remote(
        target=target,
        ask=ask,
        greeting="hello from the pod",
        file="/etc/app/settings.txt",
        file_text="colour is green",
        beside="..data,more.txt,settings.txt",
        url="http://orders/today",
        url_text="original",
        port=PORT,
        original="original",
        address=address,
        options=("-n", targets.name, "-i", targets.cluster.image, *options),
        kubeconfig=targets.cluster.kubeconfig,
    )


@pytest.mark.parametrize("mode", ["mirror", "steal"])
@pytest.mark.parametrize("program", MATRIX, ids=lambda program: program.name)
def test_program_stands_in_the_pod(program: Program, mode: str, remote: Remote, build: Path, tmp_path: Path) -> None:
    check(remote, program, mode, build, tmp_path)
