import json

from inpod.targets.kube import job
from inpod.targets.kube.bootstrap import Keys, command
from inpod.targets.kube.container import new_name
from inpod.targets.kube.resolve import Found

TARGET = Found("shop", "api-1", "web", "c0ffee", "node1")


def test_job_asks_for_no_more_than_it_needs_and_ends_by_itself() -> None:
    made = job.manifest("inpod-agent-1", TARGET, image="python:3.13", command=["python3"], countersign="x")
    assert made["metadata"]["namespace"] == "shop"
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "inpod"
    spec = made["spec"]
    assert spec["activeDeadlineSeconds"] == 60
    assert spec["backoffLimit"] == 0
    pod = spec["template"]["spec"]
    assert pod["nodeName"] == "node1"
    assert pod["hostPID"] is True
    assert not {"hostNetwork", "hostIPC", "volumes", "serviceAccountName"} & pod.keys()
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["securityContext"]["privileged"] is False
    assert container["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW", "DAC_READ_SEARCH"],
    }


def test_token_is_not_in_the_job() -> None:
    token = Keys.new().token
    made = job.manifest(new_name(), TARGET, image="x", command=command(token, "c0ffee", job.PORT), countersign="x")
    assert token not in json.dumps(made)


def test_names_are_unique_and_valid() -> None:
    names = {new_name() for _ in range(100)}
    assert len(names) == 100
    # A pod's name gets 6 characters more, and its host name ends at 63.
    assert all(len(name) <= 57 and name.startswith("inpod-agent-") for name in names)


def test_renewal_leaves_a_whole_lease_from_this_moment() -> None:
    assert job.renewal(0.0) == {"spec": {"activeDeadlineSeconds": 61}}
    assert job.renewal(3600.9) == {"spec": {"activeDeadlineSeconds": 3661}}
