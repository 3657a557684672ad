"""Kubernetes targets as the tests use them: without a session around them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from inpod.errors import UserError
from inpod.targets.kube.target import KubeTarget
from inpod.targets.spec import DeploymentTarget, PodTarget, parse_target
from tests.e2e.cluster import Cluster, Namespace, until

GONE_WITHIN_S = 15.0

REFUSED_WITHIN_S = 20.0
"""The errors themselves take 1 to 11: the longest is an API server that does not answer."""

CREDENTIALS = ("client-certificate-data", "client-key-data", "client-certificate", "client-key", "token", "exec")
NO_CREDENTIALS: dict[str, Any] = dict.fromkeys(CREDENTIALS)

T = TypeVar("T")


def run(work: Coroutine[None, None, T]) -> T:
    """Run `work` as inpod does."""
    return uvloop.run(work)


def make_target(here: Namespace, text: str, **options: Any) -> KubeTarget:
    """Return a target of this namespace."""
    spec = parse_target(text)
    assert isinstance(spec, PodTarget | DeploymentTarget)
    given = {"kubeconfig": here.cluster.kubeconfig, "kube_namespace": here.name, "image": here.cluster.image}
    return KubeTarget(spec, **{**given, **options})


def inpod_exec(
    here: Namespace, target: str, options: Sequence[str], program: Sequence[str], kubeconfig: str | None = None
) -> "subprocess.Popen[str]":
    """Run a program in the place of a target, as a user does; its output and errors are pipes."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "inpod", "exec", "-t", target, "-n", here.name, "-i", here.cluster.image),
            *(*options, "--", *program),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "KUBECONFIG": kubeconfig or here.cluster.kubeconfig},
    )


def agents(here: Namespace) -> list[str]:
    """Return the names of the agents' pods that are there."""
    found = here.get("pods", labels="app.kubernetes.io/managed-by=inpod")
    return [str(item["metadata"]["name"]) for item in found["items"]]


def wait_until_nothing_is_left(here: Namespace, within_s: float = GONE_WITHIN_S) -> None:
    """Wait until neither Job nor pod of an agent is there."""
    until("no Job, no agent", lambda: not here.jobs() and not agents(here), within_s=within_s)


def kubeconfig_with(of: Cluster, path: Path, **changes: dict[str, Any]) -> str:
    """Write the kubeconfig of a cluster to `path`, with changes of its `cluster`, `user` or `context`; None takes away."""
    raw = json.loads(of.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    for kind, change in changes.items():
        entry = raw[f"{kind}s"][0]
        entry[kind] = {key: value for key, value in {**entry[kind], **change}.items() if value is not None}
    path.write_text(json.dumps(raw))
    return str(path)


def refused(here: Namespace, text: str = "pod/web", **options: Any) -> UserError:
    """Return the error that starting an agent ends in."""
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        run(make_target(here, text, **options).start_agent(lambda what: None))
    assert time.monotonic() - started < REFUSED_WITHIN_S
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value
