import msgspec

from inpod.targets.kube.list import Listed, listed
from inpod.targets.kube.pod_objects import Deployment, Pod


def test_targets_are_listed_with_containers_and_readiness_and_without_agents() -> None:
    deployment = {
        "metadata": {"name": "api"},
        "spec": {
            "replicas": 3,
            "selector": {},
            "template": {"spec": {"containers": [{"name": "istio-proxy"}, {"name": "web"}]}},
        },
        "status": {"readyReplicas": 2},
    }
    pod = {
        "metadata": {"name": "api-1"},
        "spec": {"containers": [{"name": "web"}]},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "web"}]},
    }
    own = {"metadata": {"name": "inpod-agent-1", "labels": {"app.kubernetes.io/managed-by": "inpod"}}, "spec": {}}
    assert listed([msgspec.convert(deployment, Deployment)], msgspec.convert([own, pod], list[Pod])) == [
        Listed(kind="deployment", name="api", containers=("web", "istio-proxy"), ready="2/3", is_ready=True),
        Listed(kind="pod", name="api-1", containers=("web",), ready="0/1", is_ready=False),
    ]
