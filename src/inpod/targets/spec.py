"""What `--target` names, as written: `pod/NAME`, `deployment/NAME/container/C`, `pid/PID`, `netns/NAME/pid/PID`."""

import re
from typing import NamedTuple

from inpod.errors import UserError

FORMS = "pod/NAME[/container/C], deployment/NAME[/container/C], pid/PID or netns/NAME[/pid/PID]"

_RIGHT_KIND = {
    "po": "pod",
    "pods": "pod",
    "deploy": "deployment",
    "deployments": "deployment",
    "deployments.apps": "deployment",
    "deployment.apps": "deployment",
    "process": "pid",
    "namespace": "netns",
    "ns": "netns",
}
"""Kinds that are meant by another word, most of them kubectl's."""

_NOT_YET = {
    "statefulset": "statefulset",
    "statefulsets": "statefulset",
    "sts": "statefulset",
    "daemonset": "daemonset",
    "daemonsets": "daemonset",
    "ds": "daemonset",
    "replicaset": "replicaset",
    "replicasets": "replicaset",
    "rs": "replicaset",
    "job": "job",
    "jobs": "job",
    "cronjob": "cronjob",
    "cronjobs": "cronjob",
    "rollout": "rollout",
    "rollouts": "rollout",
    "service": "service",
    "services": "service",
    "svc": "service",
    "label": "label",
}

MAX_PID = 2**22
"""Of 64-bit Linux (proc(5), pid_max)."""

_KUBE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Names of pods and deployments (RFC 1123 subdomain)."""


class PodTarget(NamedTuple):
    """One pod by its name."""

    name: str
    container: str | None = None

    def __str__(self) -> str:
        return _with_container(f"pod/{self.name}", self.container)


class DeploymentTarget(NamedTuple):
    """A ready pod of a deployment."""

    name: str
    container: str | None = None

    def __str__(self) -> str:
        return _with_container(f"deployment/{self.name}", self.container)


class ProcessTarget(NamedTuple):
    """A process of this machine."""

    pid: int

    def __str__(self) -> str:
        return f"pid/{self.pid}"


class NetnsTarget(NamedTuple):
    """A network namespace of this machine by its name or path; environment and files are those of `pid`, if given."""

    name: str
    pid: int | None = None

    def __str__(self) -> str:
        return f"netns/{self.name}" + (f"/pid/{self.pid}" if self.pid is not None else "")


KubeSpec = PodTarget | DeploymentTarget
DirectSpec = ProcessTarget | NetnsTarget
TargetSpec = KubeSpec | DirectSpec


def parse_target(text: str) -> TargetSpec:
    """Return the target that `text` names.

    Raises:
        UserError: Another form; the hint has the right one where that can be guessed.
    """
    kind, slash, rest = text.partition("/")
    match kind:
        case "pod" | "deployment" if rest:
            return _kube(text, kind, rest)
        case "deploy" if rest:
            return _kube(text, "deployment", rest)
        case "pid" if rest:
            return ProcessTarget(_pid(text, rest))
        case "netns" if rest:
            return _netns(text, rest)
    raise _wrong(text, kind, rest if slash else "")


def _kube(text: str, kind: str, rest: str) -> KubeSpec:
    name, *more = rest.split("/")
    if not _KUBE_NAME.fullmatch(name):
        raise UserError(
            f"'{name}' in target '{text}' cannot be a {kind}'s name.",
            hint="Such names consist of a-z, 0-9, '-' and '.': see 'inpod ls'.",
        )
    container: str | None
    match more:
        case []:
            container = None
        case ["container", container] if container:
            pass
        case [container] if container and container != "container":
            raise _suggest(text, f"{kind}/{name}/container/{container}")
        case ["containers" | "c", container] if container:
            raise _suggest(text, f"{kind}/{name}/container/{container}")
        case _:
            raise _unknown(text)
    return PodTarget(name, container) if kind == "pod" else DeploymentTarget(name, container)


def _netns(text: str, rest: str) -> NetnsTarget:
    """A name has no slash; a path has, so what counts is whether the end is `/pid/PID`."""
    name, middle, pid = rest.rpartition("/pid/")
    if not middle:
        name, pid = rest, ""
    if not name or name.endswith(("/", "/pid")):
        raise _unknown(text)
    return NetnsTarget(name, _pid(text, pid) if middle else None)


def _pid(text: str, digits: str) -> int:
    # isdecimal alone would accept digits of other scripts.
    if not (digits.isascii() and digits.isdecimal() and 0 < int(digits) <= MAX_PID):
        raise UserError(
            f"'{digits}' in target '{text}' is no process id.",
            hint=f"They are numbers up to {MAX_PID}: for instance --target pid/4711.",
        )
    return int(digits)


def _wrong(text: str, kind: str, rest: str) -> UserError:
    if text == "targetless":
        return UserError("mirrord's 'targetless' is not there yet in inpod.", hint=f"Name what to stand in: {FORMS}.")
    known = kind.lower()
    # With their group they are kinds of it: rollouts.argoproj.io.
    if what := _NOT_YET.get(known.partition(".")[0]):
        return UserError(
            f"A {what} cannot be a target yet: '{text}'.",
            hint="Name one of its pods: --target pod/NAME (see 'inpod ls').",
        )
    if rest and (right := _RIGHT_KIND.get(known, known if known in ("pod", "deployment", "pid", "netns") else "")):
        return _suggest(text, f"{right}/{rest}")
    if kind and not rest:
        if kind.isascii() and kind.isdecimal():
            return _suggest(text, f"pid/{kind}")
        if _KUBE_NAME.fullmatch(kind) and kind not in ("pod", "deployment", "pid", "netns", *_RIGHT_KIND):
            return UserError(
                f"Target '{text}' does not say what it is.", hint=f"Write --target deployment/{kind} or pod/{kind}."
            )
    return _unknown(text)


def _suggest(text: str, right: str) -> UserError:
    return UserError(f"'{text}' is no form of a target.", hint=f"Did you mean --target {right}?")


def _unknown(text: str) -> UserError:
    return UserError(f"'{text}' is no form of a target.", hint=f"A target is {FORMS}.")


def _with_container(text: str, container: str | None) -> str:
    return text if container is None else f"{text}/container/{container}"
