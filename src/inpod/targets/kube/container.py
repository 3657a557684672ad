"""What every agent's container has, in a Job or in the target's pod. No I/O here."""

import secrets
from typing import Any

from inpod.targets.kube.boot import COUNTERSIGN

DEFAULT_AGENT_IMAGE = "docker.io/library/python:3.13-slim"
"""Any image with Python >= 3.11 serves: the agent's code does not come with it."""


def new_name() -> str:
    """Return a name that no other agent has."""
    return f"inpod-agent-{secrets.token_hex(5)}"


def container(
    name: str, *, image: str, command: list[str], countersign: str, capabilities: tuple[str, ...], may_escalate: bool
) -> dict[str, Any]:
    """Return a container that runs `command` as root with no more than `capabilities`.

    Args:
        may_escalate: The API refuses false beside CAP_SYS_ADMIN.
    """
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": [{"name": COUNTERSIGN, "value": countersign}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "privileged": False,
            "allowPrivilegeEscalation": may_escalate,
            "readOnlyRootFilesystem": True,
            "runAsUser": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": list(capabilities)},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
