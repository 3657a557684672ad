"""Keeps an agent's Job alive while its session lives: the Job's deadline is moved on, again and again."""

import asyncio
import logging
import time

from inpod.errors import UserError
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.job import LEASE_S, jobs_path, renewal
from inpod.targets.kube.refusals import ApiRefusal

log = logging.getLogger(__name__)

RENEW_EVERY_S = 20.0
RETRY_EVERY_S = 2.0


def now() -> float:
    """Return the seconds of a clock that runs on while the machine sleeps, as the cluster's does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def keep_alive(cluster: Cluster, job: str, created: float) -> None:
    """Renew until cancelled, or until the Job is gone.

    Args:
        created: Before the Job was created, by `now`: its own clock starts a little later, so no lease is short.
    """
    wait_s, said = RENEW_EVERY_S, ""
    while True:
        await asyncio.sleep(wait_s)
        try:
            await cluster.patch(jobs_path(cluster.namespace, job), renewal(now() - created))
            wait_s, said = RENEW_EVERY_S, ""
        except (ApiRefusal, UserError) as error:
            if isinstance(error, ApiRefusal) and error.code == 404:
                log.warning(
                    "Job %s of namespace '%s' was deleted, and the agent ends with it: run the command again.",
                    job,
                    cluster.namespace,
                )
                return
            wait_s = RETRY_EVERY_S
            # Once, not at each attempt: it stands between the program's own lines.
            if error.message != said:
                said = error.message
                log.warning(
                    "Job %s is not renewed (%s): the agent ends within %d s unless that works again. "
                    "Look at the connection to the cluster and at your rights there.",
                    job,
                    said,
                    LEASE_S,
                )
