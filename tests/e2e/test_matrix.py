"""Unmodified programs stand in pods of a real cluster: environment, files, names, connections, incoming traffic."""

import json
from pathlib import Path

import pytest

from tests.e2e.cluster import PORT, Namespace
from tests.matrix import MATRIX, Program, Remote, check

ASK = """
import json, sys, http.client
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
connection.connect()
client = connection.sock.getsockname()[0]
connection.request("GET", sys.argv[3], headers={"connection": "close"})
print(json.dumps([connection.getresponse().read().decode(), client]))
"""


def remote_of(targets: Namespace, app: str, target: str, *options: str) -> Remote:
    """Return an app's pod as the matrix needs it."""
    pod = targets.pod_of(app)
    address = str(pod["status"]["podIP"])

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
        hostname=str(pod["metadata"]["name"]),
        options=("-n", targets.name, "-i", targets.cluster.image, *options),
        kubeconfig=targets.cluster.kubeconfig,
    )


@pytest.mark.parametrize(
    ("target", "mode", "interceptor"), [("pod/web", "steal", "auto"), ("deployment/api", "mirror", "tracer")]
)
@pytest.mark.parametrize("program", MATRIX, ids=lambda program: program.name)
def test_program_stands_in_the_pod(
    program: Program, target: str, mode: str, interceptor: str, targets: Namespace, build: Path, tmp_path: Path
) -> None:
    """A subset of the cells of tests/netns/test_matrix.py: each program once by each interceptor that reaches it."""
    remote = remote_of(targets, target.partition("/")[2], target)
    check(remote, program, mode, build, tmp_path, interceptor=interceptor)
    assert targets.jobs() == [], "an agent's Job was left"
