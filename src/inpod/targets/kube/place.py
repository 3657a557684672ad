"""Where an agent's container stands: what a start, which is the same for all, asks of each way to have one."""

from typing import Protocol

from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.objects import Event, Listing
from inpod.targets.kube.progress import Started, Waiting
from inpod.targets.kube.refusals import ApiRefusal


class Place(Protocol):
    """A container for one agent, made for one session.

    Attributes:
        made: For people, once it is created.
        port: Where the agent listens, on the loopback of the pod that it is in.
        is_shared: Whether others may listen there.
    """

    @property
    def made(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def is_shared(self) -> bool: ...

    async def create(self, command: list[str], countersign: str) -> None:
        """Have `command` run beside the target; `end` may be called whatever comes of it.

        Args:
            countersign: Put into its environment.

        Raises:
            ApiRefusal: The API server does not want it.
            UserError: It does not answer.
        """

    async def keep(self) -> None:
        """Do what it needs to go on, until cancelled."""

    async def look(self) -> Waiting | Started:
        """Read how far it is.

        Raises:
            UserError: It ended, or will never be there.
        """

    async def end(self) -> None:
        """Leave nothing that would not end by itself."""


async def events_of(cluster: Cluster, name: str, part: str = "") -> list[Event]:
    """Return the events about an object, or about a part of it ("spec.containers{web}")."""
    selector = f"involvedObject.name={name}" + (f",involvedObject.fieldPath={part}" if part else "")
    try:
        path = f"/api/v1/namespaces/{cluster.namespace}/events"
        return (await cluster.get(path, Listing[Event], fieldSelector=selector)).items
    except ApiRefusal:
        return []  # They explain; who may not read them learns less.
