from inpod.targets.kube.ephemeral_place import manifest
from inpod.targets.kube.resolve import Found

TARGET = Found("shop", "api-1", "web", "c0ffee", "node1")


def test_container_asks_for_no_more_than_it_needs() -> None:
    made = manifest("inpod-agent-1", TARGET, image="python:3.13", command=["python3"], countersign="x")
    (container,) = made["spec"]["ephemeralContainers"]
    assert container["targetContainerName"] == "web"
    security = container["securityContext"]
    assert security["capabilities"] == {
        "drop": ["ALL"],
        "add": ["SYS_PTRACE", "NET_ADMIN", "NET_RAW", "BPF", "DAC_READ_SEARCH"],
    }
    assert security["privileged"] is False
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert not {"volumeMounts", "envFrom", "resources", "stdin", "tty"} & container.keys()
