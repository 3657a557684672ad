"""A Job on the target's node: the agent's pod sees all processes there, and joins the target's network."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from inpod.errors import UserError
from inpod.targets.kube import job as jobs
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.container import new_name
from inpod.targets.kube.lease import keep_alive, now
from inpod.targets.kube.objects import Job, Listing
from inpod.targets.kube.place import events_of
from inpod.targets.kube.pod_objects import Pod
from inpod.targets.kube.progress import Started, Waiting, judge_job, judge_pod
from inpod.targets.kube.refusals import ApiRefusal
from inpod.targets.kube.resolve import Found, pods_path

log = logging.getLogger(__name__)

DELETE_LIMIT_S = 5.0
FINISH_LIMIT_S = 3.0
"""Longest wait, when cancelled, for a creation that is under way."""

T = TypeVar("T")


class JobPlace:
    """A `Place`."""

    port = jobs.PORT
    is_shared = False

    def __init__(self, cluster: Cluster, target: Found, image: str) -> None:
        self._cluster = cluster
        self._target = target
        self._image = image
        self._name = new_name()
        self._created = 0.0

    @property
    def made(self) -> str:
        """For people."""
        return f"Job {self._name} created"

    async def create(self, command: list[str], countersign: str) -> None:
        """Create the Job, whose lease begins now."""
        self._created = now()
        manifest = jobs.manifest(self._name, self._target, image=self._image, command=command, countersign=countersign)
        # The deletion comes next, and must not overtake it.
        await _to_its_end(self._create(manifest), FINISH_LIMIT_S)

    async def keep(self) -> None:
        """Renew the lease."""
        await keep_alive(self._cluster, self._name, self._created)

    async def look(self) -> Waiting | Started:
        """Read Job, pod and events; what is not needed is not read."""
        node = self._target.node
        path = pods_path(self._cluster.namespace)
        pods = (await self._cluster.get(path, Listing[Pod], labelSelector=f"job-name={self._name}")).items
        if not pods:
            return judge_job(await self._get_job(), await events_of(self._cluster, self._name), node=node)
        pod = max(pods, key=lambda p: p.metadata.creation_timestamp)
        events = [] if pod.status.phase == "Running" else await events_of(self._cluster, pod.metadata.name)
        return judge_pod(pod, events, image=self._image, node=node)

    async def end(self) -> None:
        """Delete the Job: one whose creation was not answered may be there all the same."""
        # Not for Ctrl-C either: a start that failed may be at its end already.
        await _to_its_end(self._delete(), DELETE_LIMIT_S)

    async def _create(self, manifest: dict[str, Any]) -> None:
        try:
            await self._cluster.create(self._path(), manifest, Job)
        except ApiRefusal as error:
            # The name is nobody else's: it was made by a call whose answer was lost.
            if error.reason != "AlreadyExists":
                raise

    async def _delete(self) -> None:
        try:
            async with asyncio.timeout(DELETE_LIMIT_S):
                with self._cluster.patience.lasting(DELETE_LIMIT_S):
                    await self._cluster.delete(self._path(self._name), jobs.DELETE_OPTIONS)
        except ApiRefusal as error:
            if error.code != 404:
                self._tell_that_it_stays(error.message)
        except UserError as error:
            self._tell_that_it_stays(error.message)
        except TimeoutError:
            self._tell_that_it_stays(f"no answer within {DELETE_LIMIT_S:g} s")

    def _tell_that_it_stays(self, why: str) -> None:
        log.warning(
            "Job %s of namespace '%s' is not deleted (%s). It ends by itself within %d s.",
            self._name,
            self._cluster.namespace,
            why,
            jobs.LEASE_S,
        )

    async def _get_job(self) -> Job | None:
        try:
            return await self._cluster.get(self._path(self._name), Job)
        except ApiRefusal as error:
            if error.code == 404:
                return None
            raise

    def _path(self, name: str = "") -> str:
        return jobs.jobs_path(self._cluster.namespace, name)


async def _to_its_end(work: Coroutine[None, None, T], limit_s: float) -> T:
    """Return what `work` returns; who is cancelled meanwhile waits for its end, so long at most."""
    working = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working], timeout=limit_s)
        working.cancel()
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # else asyncio says that nobody looked at it
        raise
