"""A pod or deployment as a target: plan (read and choose), then act; closing the link undoes it."""

import asyncio
import socket
from contextlib import AsyncExitStack

from inpod.errors import ExitCode, UserError
from inpod.targets.base import AgentLink
from inpod.targets.kube.background import together
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.container import DEFAULT_AGENT_IMAGE
from inpod.targets.kube.ephemeral_place import EphemeralPlace
from inpod.targets.kube.job_place import JobPlace
from inpod.targets.kube.refusals import ApiRefusal, explain
from inpod.targets.kube.resolve import Found, resolve
from inpod.targets.kube.rights import check_rights
from inpod.targets.kube.services import read_leads
from inpod.targets.kube.start import Report, Start
from inpod.targets.spec import DeploymentTarget, KubeSpec
from inpod.targets.undo import Undo

STARTUP_LIMIT_S = 60.0

LOOPBACK = ("127.0.0.1", "::1")


class KubeTarget:
    """A container in a cluster.

    Args:
        kubeconfig: Path; None for $KUBECONFIG or the usual place.
        context: None for the current one.
        kube_namespace: None for the context's.
        image: Of the agent; any with Python 3.11 or later.
        is_ephemeral: Whether the agent is an ephemeral container of the target's pod, instead of a Job.
        startup_timeout_s: Longest wait for the agent.
    """

    def __init__(
        self,
        spec: KubeSpec,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        kube_namespace: str | None = None,
        image: str = DEFAULT_AGENT_IMAGE,
        is_ephemeral: bool = False,
        startup_timeout_s: float = STARTUP_LIMIT_S,
    ) -> None:
        self._spec = spec
        self._kubeconfig = kubeconfig
        self._context = context
        self._kube_namespace = kube_namespace
        self._image = image
        self._is_ephemeral = is_ephemeral
        self._startup_timeout_s = startup_timeout_s

    @property
    def name(self) -> str:
        """As the user named it."""
        return str(self._spec)

    async def plan(self, cluster: Cluster) -> Found:
        """Read the cluster, choose, and see that the act will be allowed.

        Raises:
            UserError: The target is not there, does not run, or a right is missing.
        """
        # What is wrong with the target is said first: a missing right may follow from a wrong namespace.
        target, _ = await together(
            resolve(cluster, self._spec),
            check_rights(
                cluster, is_deployment=isinstance(self._spec, DeploymentTarget), is_ephemeral=self._is_ephemeral
            ),
        )
        assert target is not None
        return target

    async def start_agent(self, report: Report) -> AgentLink:
        """Start an agent on the target's node or in its pod; closing the link ends it.

        Raises:
            UserError: As `plan`; or the agent does not start.
        """
        async with Undo() as undo:
            cluster = await Cluster.connect(
                kubeconfig=self._kubeconfig, context=self._context, namespace=self._kube_namespace
            )
            undo.push_async_callback(cluster.close)
            with cluster.patience.lasting(self._startup_timeout_s, report):
                target = await self.plan(cluster)
                report(f"Found {target.describes}, on node {target.node}")
                if target.is_host_network:
                    report(f"Pod {target.pod} uses its node's network: its ports are the node's")
                place = (EphemeralPlace if self._is_ephemeral else JobPlace)(cluster, target, self._image)
                start = Start(cluster, place, target.container_id, report)
                sock = await self._act(start, cluster, target.node, undo)
                undo.callback(sock.close)
            # A cancellation that waits is taken here, where it undoes; after this nothing waits before the link is returned.
            await asyncio.sleep(0)
            return AgentLink(
                sock,
                target.mounts,
                target.describes,
                undo.pop_all().aclose,
                start.reconnect,
                target.probe_ports,
                addresses=(*target.addresses, *LOOPBACK) if target.is_host_network else (),
                read_leads=lambda: read_leads(cluster, target.pod),
            )

    async def _act(self, start: Start, cluster: Cluster, node: str, undo: AsyncExitStack) -> socket.socket:
        try:
            async with asyncio.timeout(self._startup_timeout_s):
                return await start.act(undo)
        except TimeoutError as error:
            raise cluster.patience.trouble or UserError(
                f"The agent did not start within {self._startup_timeout_s:g} s; still waiting for {start.awaits}.",
                hint=f"Wait longer with --agent-startup-timeout, or see 'kubectl describe node {node}'.",
                exit_code=ExitCode.AGENT_START,
            ) from error
        except ApiRefusal as error:
            raise explain(error, cluster.server) from error
