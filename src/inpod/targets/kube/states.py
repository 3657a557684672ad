"""Says in a few words why a pod or a container does not run. No I/O here."""

from inpod.targets.kube.pod_objects import ContainerState, ContainerStatus, Pod

_STARTING = ("", "PodInitializing", "ContainerCreating")
_ENDED = {"Succeeded": "it has ended (Succeeded)", "Failed": "it has ended (Failed)"}


def state_of(pod: Pod) -> str:
    """Return why `pod` is not ready, without a full stop."""
    status = pod.status
    if pod.metadata.deletion_timestamp:
        return "it is being deleted"
    if status.phase in _ENDED:
        said = ": ".join(part for part in (status.reason, status.message) if part)
        return _stopless(said) or _exit_of(status.container_statuses) or _ENDED[status.phase]
    for each in [*status.init_container_statuses, *status.container_statuses]:
        if each.state.waiting and each.state.waiting.reason not in _STARTING:
            return f"container {each.name}: {container_state(each)}"
    unscheduled = next((c for c in status.conditions if c.type == "PodScheduled" and c.status == "False"), None)
    if unscheduled and unscheduled.message:
        return _stopless(unscheduled.message)
    if status.phase == "Running":
        return "not ready"
    if initial := next((each for each in status.init_container_statuses if each.state.running), None):
        return f"its init container {initial.name} has not ended"
    return _stopless(status.message) or status.reason or status.phase or "unknown state"


def container_state(status: ContainerStatus | None) -> str:
    """Return why a container does not run, without a full stop."""
    if status is None:
        return "it has not started"
    if status.state.waiting:
        reason = status.state.waiting.reason
        if ended := _exit(status.last_state):
            return f"{ended}, and is started again later ({reason})"
        return reason or "it waits"
    return _exit(status.state) or "it has not started"


def has_ended_before(status: ContainerStatus | None) -> bool:
    """Return whether there is a log of a container that ended, and that another one followed or will."""
    return status is not None and status.last_state.terminated is not None


def _exit(state: ContainerState) -> str:
    return f"it ended with exit code {state.terminated.exit_code}" if state.terminated else ""


def _exit_of(statuses: list[ContainerStatus]) -> str:
    """Return how the first container ended that did not end well."""
    ended = ((each.name, each.state.terminated) for each in statuses)
    return next(
        (f"container {name} ended with exit code {end.exit_code}" for name, end in ended if end and end.exit_code), ""
    )


def _stopless(said: str) -> str:
    """Return a sentence of somebody else's as a part of ours."""
    return said.strip().rstrip(".")
