"""An ephemeral container of the target's pod: it has the pod's network, and sees the processes of the target's container.

It cannot be removed again: once its program has ended, its entry stays in the pod's spec. So nothing is done to end it but
what ends every agent: the session's last word, else `IDLE_LIMIT_S` without one.
"""

import secrets
from typing import Any

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.container import container, new_name
from inpod.targets.kube.place import events_of
from inpod.targets.kube.pod_objects import Pod
from inpod.targets.kube.progress import Started, Waiting, judge_ephemeral
from inpod.targets.kube.refusals import ApiRefusal
from inpod.targets.kube.resolve import Found, pods_path

CAPABILITIES = ("SYS_PTRACE", "NET_ADMIN", "NET_RAW", "BPF", "DAC_READ_SEARCH")
"""/proc/PID of the target; its ports; packets; stealing by BPF; files and environment of other users."""

FIRST_PORT, LAST_PORT = 61000, 65535
"""Where agents listen in the pod: hardly a server does, nor does the kernel take connections' own ports from there."""


class EphemeralPlace:
    """A `Place`."""

    is_shared = True

    def __init__(self, cluster: Cluster, target: Found, image: str) -> None:
        self.port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)
        self._cluster = cluster
        self._target = target
        self._image = image
        self._name = new_name()

    @property
    def made(self) -> str:
        """For people."""
        return f"Ephemeral container {self._name} added; it ends, but stays listed in pod {self._target.pod}"

    async def create(self, command: list[str], countersign: str) -> None:
        """Add the container to the pod."""
        change = manifest(self._name, self._target, image=self._image, command=command, countersign=countersign)
        try:
            await self._cluster.patch(f"{self._path()}/ephemeralcontainers", change, strategic=True)
        except ApiRefusal as error:
            if "too large" not in error.message:
                raise
            raise UserError(
                f"Pod '{self._target.pod}' has no room for another ephemeral container: {error.message}",
                hint="Those that ended stay listed in it; use a Job (without -e), or have the pod made anew.",
                exit_code=ExitCode.AGENT_START,
            ) from error

    async def keep(self) -> None:
        """Do nothing: it ends when nobody speaks with its agent."""

    async def look(self) -> Waiting | Started:
        """Read the pod, and the events of the container while it does not run."""
        try:
            pod = await self._cluster.get(self._path(), Pod)
        except ApiRefusal as error:
            if error.code != 404:
                raise
            pod = None
        part = f"spec.ephemeralContainers{{{self._name}}}"
        statuses = [] if pod is None else pod.status.ephemeral_container_statuses
        runs = any(status.name == self._name and status.state.running for status in statuses)
        events = [] if runs else await events_of(self._cluster, self._target.pod, part)
        return judge_ephemeral(pod, events, name=self._name, target=self._target, image=self._image)

    async def end(self) -> None:
        """Do nothing: it cannot be removed."""

    def _path(self) -> str:
        return pods_path(self._cluster.namespace, self._target.pod)


def manifest(name: str, target: Found, *, image: str, command: list[str], countersign: str) -> dict[str, Any]:
    """Return the change of a pod that runs `command` beside `target`."""
    made = container(
        name,
        image=image,
        command=command,
        countersign=countersign,
        capabilities=CAPABILITIES,
        may_escalate=False,
    )
    return {"spec": {"ephemeralContainers": [{**made, "targetContainerName": target.container}]}}
