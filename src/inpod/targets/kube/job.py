"""The Job whose only pod is the agent. No I/O here."""

from typing import Any

from inpod.targets.kube.container import container
from inpod.targets.kube.resolve import Found

LEASE_S = 60
"""The Job ends by itself when its session has not renewed this long."""

KEPT_AFTER_END_S = 10
"""How long an ended Job stays to be looked at."""

CONTAINER = "agent"

PORT = 47001
"""Of the agent: its pod has a network of its own, where nobody else listens."""

CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW", "DAC_READ_SEARCH")
"""setns and BPF; /proc/PID of others; the target's ports; packets; files and environment of other users."""

DELETE_OPTIONS = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}


def manifest(name: str, target: Found, *, image: str, command: list[str], countersign: str) -> dict[str, Any]:
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
                    # Who has a registry of his own has the agent's image there, too.
                    "imagePullSecrets": [{"name": secret} for secret in target.pull_secrets],
                    "containers": [
                        {
                            **container(
                                CONTAINER,
                                image=image,
                                command=command,
                                countersign=countersign,
                                capabilities=CAPABILITIES,
                                may_escalate=True,
                            ),
                            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                        }
                    ],
                },
            },
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
