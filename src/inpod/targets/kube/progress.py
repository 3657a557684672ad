"""Reads off Job, pods and events how far the agent's start is, or why it will never be there. No I/O here."""

from dataclasses import dataclass

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.job import CONTAINER
from inpod.targets.kube.objects import Event, Job
from inpod.targets.kube.pod_objects import ContainerState, ContainerStatus, Pod
from inpod.targets.kube.refusals import forbidden, one_line
from inpod.targets.kube.resolve import Found

_IMAGE_REASONS = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
_START_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet.

    Attributes:
        what: What is waited for: "the image x to be pulled".
        pod: Where the container may run before the cluster knows; "" while it cannot.
    """

    what: str
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """The agent's container runs."""

    pod: str
    what = "the agent to answer"


def judge_job(job: Job | None, events: list[Event], *, node: str) -> Waiting:
    """Return what a Job without a pod waits for.

    Args:
        job: None when it is not there.
        events: About the Job.

    Raises:
        UserError: No pod will come.
    """
    if job is None or job.metadata.deletion_timestamp:
        raise _failed("The agent's Job was deleted by someone else.", "Try again.")
    for event in events:
        if event.reason == "FailedCreate":
            raise forbidden(event.message.removeprefix("Error creating: "), "create the agent's pod")
    for condition in job.status.conditions:
        if condition.type == "Failed" and condition.status == "True":
            raise _failed(
                f"The agent's Job failed, and its pod is gone: {condition.message or condition.reason}",
                f"See whether node '{node}' is there and well: 'kubectl get node {node}'.",
            )
    return Waiting("the agent's pod to be made")


def judge_pod(pod: Pod, events: list[Event], *, image: str, node: str) -> Waiting | Started:
    """Return how far the agent's pod is.

    Args:
        events: About the pod.

    Raises:
        UserError: Its container ended, or will not start as far as can be seen.
    """
    state = _state(pod.status.container_statuses, CONTAINER)
    _require_no_end(state, image)
    if pod.status.phase == "Failed":
        said = one_line(": ".join(part for part in (pod.status.reason, pod.status.message) if part))
        raise _failed(f"Node '{node}' does not run the agent's pod: {said}", f"See 'kubectl describe node {node}'.")
    if pod.metadata.deletion_timestamp:
        raise _failed(
            "The agent's pod was deleted by someone else.", f"See whether node '{node}' is well, and try again."
        )
    if state.running is not None:
        return Started(pod.metadata.name)
    _require_hope(state, events, image)
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            raise _failed(
                f"The agent's pod cannot be scheduled to node '{node}': {one_line(condition.message)}",
                f"See 'kubectl describe node {node}'.",
            )
    pod_name = pod.metadata.name
    return _waiting(state, events, image, pod_name) or Waiting(f"node {node} to take the agent's pod", pod_name)


def judge_ephemeral(pod: Pod | None, events: list[Event], *, name: str, target: Found, image: str) -> Waiting | Started:
    """Return how far an ephemeral container is.

    Args:
        pod: The target's; None when it is not there.
        events: About the container.
        name: Of the container.

    Raises:
        UserError: It ended, or will not start as far as can be seen; or its target ended, without which it cannot be.
    """
    look = f"See 'kubectl -n {target.kube_namespace} describe pod {target.pod}', and run the command again."
    if pod is None or pod.metadata.deletion_timestamp:
        raise UserError(f"Pod '{target.pod}' was deleted.", hint=look, exit_code=ExitCode.TARGET_NOT_READY)
    statuses = [*pod.status.container_statuses, *pod.status.init_container_statuses]
    # By its id: one that ended may run again by now, as another.
    if not any(each.state.running and each.container_id.endswith(target.container_id) for each in statuses):
        raise UserError(
            f"Container '{target.container}' of pod '{target.pod}' ended, and with it the agent.",
            hint=look,
            exit_code=ExitCode.TARGET_NOT_READY,
        )
    state = _state(pod.status.ephemeral_container_statuses, name)
    _require_no_end(state, image)
    if state.running is not None:
        return Started(target.pod)
    _require_hope(state, events, image)
    return _waiting(state, events, image, target.pod) or Waiting(
        f"node {target.node} to start the agent's container", target.pod
    )


def _state(statuses: list[ContainerStatus], name: str) -> ContainerState:
    return next((status.state for status in statuses if status.name == name), ContainerState())


def _require_no_end(state: ContainerState, image: str) -> None:
    if state.terminated is not None:
        raise _ended(state.terminated.exit_code, state.terminated.message or state.terminated.reason, image)


def _require_hope(state: ContainerState, events: list[Event], image: str) -> None:
    if state.waiting is not None and state.waiting.reason in _IMAGE_REASONS:
        said = _last(events, "Failed", "Failed to pull") or state.waiting.message or state.waiting.reason
        raise _failed(
            f"The agent's image '{image}' cannot be pulled: {one_line(said)}",
            "Choose one that the node can have, with Python 3.11 or later: --agent-image.",
        )
    if state.waiting is not None and state.waiting.reason in _START_REASONS:
        raise _ended(0, state.waiting.message or state.waiting.reason, image)


def _waiting(state: ContainerState, events: list[Event], image: str, pod: str) -> Waiting | None:
    """Return what a container waits for; None when nothing is known of it yet."""
    if any(event.reason == "Pulling" for event in events) and not any(event.reason == "Pulled" for event in events):
        return Waiting(f"image {image} to be pulled")
    return None if state.waiting is None else Waiting("the agent's container to start", pod)


def _ended(exit_code: int, said: str, image: str) -> UserError:
    if "python3" in said and ("not found" in said or "no such file" in said.lower()):
        return _failed(
            f"There is no python3 in the agent's image '{image}'.",
            "Choose one with Python 3.11 or later: --agent-image.",
        )
    if "exec format error" in said:
        return _failed(
            f"The agent's image '{image}' is for another kind of processor than the node has.",
            "Choose one for the node's (kubectl get node -L kubernetes.io/arch), or one for several: --agent-image.",
        )
    what = f"ended with exit code {exit_code}" if exit_code else "cannot start"
    return _failed(
        f"The agent's container {what}: {one_line(said)}",
        f"Check the image '{image}', or choose another: --agent-image.",
    )


def _last(events: list[Event], reason: str, start: str) -> str:
    return next((e.message for e in reversed(events) if e.reason == reason and e.message.startswith(start)), "")


def _failed(message: str, hint: str) -> UserError:
    return UserError(message, hint=hint, exit_code=ExitCode.AGENT_START)
