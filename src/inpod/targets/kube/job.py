"""The Job whose only pod is the agent. No I/O here."""

import secrets
from typing import Any

from inpod.targets.kube.resolve import Found

DEFAULT_AGENT_IMAGE = "docker.io/library/python:3.13-slim"
"""Any image with Python >= 3.11 serves: the agent's code does not come with it."""

LEASE_S = 60
"""The Job ends by itself when its session has not renewed this long."""

KEPT_AFTER_END_S = 10
"""How long an ended Job stays to be looked at."""

CONTAINER = "agent"

CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW", "DAC_READ_SEARCH")
"""setns and BPF; /proc/PID of others; the target's ports; packets; files and environment of other users."""

DELETE_OPTIONS = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}


def new_name() -> str:
    """Return a name that no other Job has."""
    return f"inpod-agent-{secrets.token_hex(5)}"


def manifest(name: str, target: Found, *, image: str, command: list[str]) -> dict[str, Any]:
    """Return the Job that runs `command` beside `target`."""
    labels = {"app.kubernetes.io/name": "inpod-agent", "app.kubernetes.io/managed-by": "inpod"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": target.kube_namespace,
            "labels": labels,
            "annotations": {"inpod/pod": target.pod, "inpod/container": target.container},
        },
        "spec": {
            "backoffLimit": 0,
            # A lease from the first moment: whatever becomes of the session, the Job ends.
            "activeDeadlineSeconds": LEASE_S,
            "ttlSecondsAfterFinished": KEPT_AFTER_END_S,
            "template": {
                "metadata": {
                    # Meshes read labels or annotations, by version. A sidecar would keep the Job from ending.
                    "labels": {
                        **labels,
                        "sidecar.istio.io/inject": "false",
                        "kuma.io/sidecar-injection": "disabled",
                    },
                    "annotations": {
                        "sidecar.istio.io/inject": "false",
                        "linkerd.io/inject": "disabled",
                        "kuma.io/sidecar-injection": "disabled",
                        "consul.hashicorp.com/connect-inject": "false",
                        "vault.hashicorp.com/agent-inject": "false",
                        "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
                    },
                },
                "spec": {
                    # Not through the scheduler: the target's node, also when that is cordoned.
                    "nodeName": target.node,
                    "tolerations": [{"operator": "Exists"}],
                    "hostPID": True,
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 0,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [_container(image, command)],
                },
            },
        },
    }


def _container(image: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "securityContext": {
            "privileged": False,
            # The API refuses false beside CAP_SYS_ADMIN.
            "allowPrivilegeEscalation": True,
            "readOnlyRootFilesystem": True,
            "runAsUser": 0,
            "runAsNonRoot": False,
            "capabilities": {"drop": ["ALL"], "add": list(CAPABILITIES)},
        },
    }


def renewal(elapsed_s: float) -> dict[str, Any]:
    """Return the change that gives a Job another lease.

    Args:
        elapsed_s: Since the Job was created: its deadline counts from its start.
    """
    return {"spec": {"activeDeadlineSeconds": int(elapsed_s) + 1 + LEASE_S}}


def jobs_path(kube_namespace: str, name: str = "") -> str:
    """Return the API's path of one or all Jobs."""
    return f"/apis/batch/v1/namespaces/{kube_namespace}/jobs" + (f"/{name}" if name else "")
