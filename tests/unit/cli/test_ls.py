"""How targets are listed."""

import json

from inpod.cli.ls import as_json, as_table
from inpod.targets.kube.list import Listed

FOUND = [
    Listed("deployment", "api", ("api", "istio-proxy"), "1/2", True),
    Listed("pod", "api-7d9f8-abcde", ("api",), "0/1", False),
]


def test_table() -> None:
    assert as_table(FOUND) == (
        "TARGET               READY  CONTAINERS\n"
        "deployment/api       1/2    api,istio-proxy\n"
        "pod/api-7d9f8-abcde  0/1    api\n"
    )
    assert as_table([]) == ""


def test_one_very_long_name_does_not_push_the_other_columns_away() -> None:
    name = "p" * 253
    assert as_table([FOUND[0], Listed("pod", name, ("web",), "1/1", True)]).splitlines() == [
        f"{'TARGET':80}  READY  CONTAINERS",
        f"{'deployment/api':80}  1/2    api,istio-proxy",
        f"pod/{name}  1/1    web",
    ]


def test_json() -> None:
    assert json.loads(as_json(FOUND))[1] == {
        "target": "pod/api-7d9f8-abcde",
        "ready": "0/1",
        "is_ready": False,
        "containers": ["api"],
    }
    assert json.loads(as_json([])) == []
