"""Starts one agent by a Job and hands its code over; knows how to come back to it."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

from inpod.errors import ExitCode, UserError
from inpod.targets.base import AgentGone
from inpod.targets.kube import job as jobs
from inpod.targets.kube.background import Background
from inpod.targets.kube.boot import PORT
from inpod.targets.kube.bootstrap import NotReady, command, new_token, present_token, send_code
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.lease import keep_alive, now
from inpod.targets.kube.objects import Event, Job, Listing, Pod
from inpod.targets.kube.portforward import PodGone, PortForward, PortForwardFailed
from inpod.targets.kube.progress import Started, Waiting, judge_job, judge_pod
from inpod.targets.kube.refusals import ApiRefusal
from inpod.targets.kube.resolve import Found, pods_path

log = logging.getLogger(__name__)

POLL_EVERY_S = 0.1
POLL_SLOWLY_S = 1.0
DELETE_LIMIT_S = 5.0
FINISH_LIMIT_S = 3.0
"""Longest wait, when cancelled, for a creation that is under way."""

Report = Callable[[str], None]


class Start:
    """One start of one agent.

    Attributes:
        awaits: What it is waiting for, for people.
    """

    def __init__(self, cluster: Cluster, target: Found, image: str, report: Report) -> None:
        self.awaits = "the API server"
        self._cluster = cluster
        self._target = target
        self._image = image
        self._report = report
        self._job = jobs.new_name()
        self._token = new_token()
        self._pod = ""
        self._background = Background()

    async def act(self, undo: AsyncExitStack) -> socket.socket:
        """Create the Job, wait for its pod, hand the code over; each step's undo goes onto `undo`."""
        created = now()
        # Before the creation: a Job whose creation was not answered may be there all the same.
        undo.push_async_callback(self._delete)
        undo.push_async_callback(self._background.close)
        await self._create()
        self._report(f"Job {self._job} created")
        self._background.start(keep_alive(self._cluster, self._job, created))
        self._pod = await self._wait_for_pod()
        self._wait("the agent to answer")
        sock = await self._hand_over()
        self._report("the agent is connected")
        return sock

    async def reconnect(self) -> socket.socket:
        """Return a new connection to the agent.

        Raises:
            UserError: The API server or the agent cannot be reached.
            AgentGone: Its pod was deleted.
        """
        try:
            forward = await PortForward.open(self._cluster, self._pod, PORT, self._background)
        except PodGone as error:
            raise AgentGone from error
        except PortForwardFailed as error:
            raise UserError(
                f"The agent in pod {self._pod} is gone: {error}",
                hint="Run the command again.",
                exit_code=ExitCode.AGENT_LOST,
            ) from error
        await present_token(forward.sock, self._token)
        return forward.sock

    async def _create(self) -> None:
        manifest = jobs.manifest(
            self._job,
            self._target,
            image=self._image,
            command=command(self._token, self._target.container_id),
        )
        path = jobs.jobs_path(self._cluster.namespace)
        creating = asyncio.ensure_future(self._cluster.create(path, manifest, Job))
        try:
            await asyncio.shield(creating)
        except asyncio.CancelledError:
            # The deletion comes next, and must not overtake it.
            await asyncio.wait([creating], timeout=FINISH_LIMIT_S)
            creating.cancel()
            await asyncio.wait([creating])
            if not creating.cancelled():
                creating.exception()  # else asyncio says that nobody looked at it
            raise

    async def _delete(self) -> None:
        try:
            async with asyncio.timeout(DELETE_LIMIT_S):
                await self._cluster.delete(jobs.jobs_path(self._cluster.namespace, self._job), jobs.DELETE_OPTIONS)
        except ApiRefusal as error:
            if error.code != 404:
                log.warning("Job %s is not deleted (%s); it ends within %d s", self._job, error.message, jobs.LEASE_S)
        except (TimeoutError, UserError) as error:
            log.warning("Job %s is not deleted (%s); it ends within %d s", self._job, error, jobs.LEASE_S)

    async def _wait_for_pod(self) -> str:
        """Return the agent's pod once its container runs."""
        poll_s = POLL_EVERY_S
        while True:
            state = await self._look()
            if isinstance(state, Started):
                return state.pod
            self._wait(state.what)
            await asyncio.sleep(poll_s)
            poll_s = min(poll_s * 1.2, POLL_SLOWLY_S)

    async def _look(self) -> Waiting | Started:
        """Read how far the start is; what is not needed is not read."""
        node = self._target.node
        path = pods_path(self._cluster.namespace)
        pods = (await self._cluster.get(path, Listing[Pod], labelSelector=f"job-name={self._job}")).items
        if not pods:
            return judge_job(await self._get_job(), await self._events(self._job), node=node)
        pod = max(pods, key=lambda p: p.metadata.creation_timestamp)
        events = [] if pod.status.phase == "Running" else await self._events(pod.metadata.name)
        return judge_pod(pod, events, image=self._image, node=node)

    async def _get_job(self) -> Job | None:
        try:
            return await self._cluster.get(jobs.jobs_path(self._cluster.namespace, self._job), Job)
        except ApiRefusal as error:
            if error.code == 404:
                return None
            raise

    async def _events(self, name: str) -> list[Event]:
        try:
            listing = await self._cluster.get(
                f"/api/v1/namespaces/{self._cluster.namespace}/events",
                Listing[Event],
                fieldSelector=f"involvedObject.name={name}",
            )
        except ApiRefusal:
            return []  # They explain; who may not read them learns less.
        return listing.items

    async def _hand_over(self) -> socket.socket:
        """Connect to the container's program, which may not listen yet, and give it the code."""
        while True:
            try:
                forward = await PortForward.open(self._cluster, self._pod, PORT, self._background)
                try:
                    await send_code(forward.sock, self._token)
                except BaseException:
                    await forward.close()
                    raise
                return forward.sock
            except (NotReady, PortForwardFailed) as error:
                log.debug("the agent does not answer yet: %s", error)
            await self._look()
            await asyncio.sleep(POLL_EVERY_S)

    def _wait(self, what: str) -> None:
        if what != self.awaits:
            self.awaits = what
            self._report(f"waiting for {what}")
