import msgspec
import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.objects import Event, Job, Pod
from inpod.targets.kube.progress import Started, Waiting, judge_job, judge_pod

JOB = msgspec.convert({"metadata": {"name": "j"}}, Job)


def pod(**status: object) -> Pod:
    return msgspec.convert({"metadata": {"name": "j-1"}, "spec": {}, "status": {"phase": "Pending", **status}}, Pod)


def agent(**state: object) -> list[object]:
    return [{"name": "other", "state": {"running": {}}}, {"name": "agent", "state": state}]


def event(reason: str, message: str = "") -> Event:
    return msgspec.convert({"metadata": {}, "reason": reason, "message": message}, Event)


def test_running_container_is_a_start() -> None:
    state = pod(phase="Running", containerStatuses=agent(running={"startedAt": "now"}))
    assert judge_pod(state, [], image="i", node="n") == Started("j-1")


@pytest.mark.parametrize(
    ("state", "events", "what"),
    [
        (pod(), [], "node n to take the agent's pod"),
        (pod(), [event("Pulling")], "image i to be pulled"),
        (pod(containerStatuses=agent(waiting={"reason": "ContainerCreating"})), [], "the agent's container to start"),
        (
            pod(containerStatuses=agent(waiting={"reason": "ContainerCreating"})),
            [event("Pulling"), event("Pulled")],
            "the agent's container to start",
        ),
    ],
)
def test_what_is_not_there_yet_is_named(state: Pod, events: list[Event], what: str) -> None:
    assert judge_pod(state, events, image="i", node="n") == Waiting(what)


@pytest.mark.parametrize(
    ("state", "events", "says", "hint"),
    [
        (
            pod(containerStatuses=agent(waiting={"reason": "ErrImagePull", "message": "short"})),
            [event("Failed", 'Failed to pull image "i": no such host'), event("Failed", "Error: ErrImagePull")],
            "The agent's image 'i' cannot be pulled: Failed to pull image \"i\": no such host",
            "--agent-image",
        ),
        (
            pod(containerStatuses=agent(waiting={"reason": "ImagePullBackOff", "message": "Back-off pulling"})),
            [],
            "cannot be pulled: Back-off pulling",
            "--agent-image",
        ),
        (pod(containerStatuses=agent(waiting={"reason": "InvalidImageName"})), [], "InvalidImageName", "--agent-image"),
        (
            pod(containerStatuses=agent(waiting={"reason": "CreateContainerError", "message": "no room"})),
            [],
            "The agent's container cannot start: no room",
            "--agent-image",
        ),
        (
            pod(
                phase="Failed",
                containerStatuses=agent(
                    terminated={
                        "exitCode": 128,
                        "reason": "StartError",
                        "message": 'exec: "python3": executable file not found in $PATH: unknown',
                    }
                ),
            ),
            [],
            "There is no python3 in the agent's image 'i'.",
            "--agent-image",
        ),
        (
            pod(phase="Failed", containerStatuses=agent(terminated={"exitCode": 137, "reason": "OOMKilled"})),
            [],
            "The agent's container ended with exit code 137: OOMKilled",
            "",
        ),
        (pod(phase="Failed", reason="OutOfcpu", message="Node has no cpu"), [], "OutOfcpu: Node has no cpu", "node n"),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]),
            [],
            "cannot be scheduled to node 'n': 0/3",
            "node n",
        ),
    ],
)
def test_start_that_cannot_succeed_says_why(state: Pod, events: list[Event], says: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        judge_pod(state, events, image="i", node="n")
    assert says in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == ExitCode.AGENT_START


def test_job_without_a_pod_waits_for_it() -> None:
    assert judge_job(JOB, [event("SuccessfulCreate")], node="n") == Waiting("the agent's pod to be made")


def test_refused_pod_is_told_in_the_words_of_the_jobs_event() -> None:
    words = 'Error creating: pods "j-x" is forbidden: violates PodSecurity "baseline:latest": hostPID=true'
    with pytest.raises(UserError, match=r'does not admit the agent.*violates PodSecurity "baseline:latest"'):
        judge_job(JOB, [event("FailedCreate", words)], node="n")


def test_job_that_someone_deleted_is_told() -> None:
    with pytest.raises(UserError, match="deleted by someone else"):
        judge_job(None, [], node="n")


def test_failed_job_whose_pod_is_gone_names_the_node() -> None:
    failed = msgspec.convert(
        {
            "metadata": {"name": "j"},
            "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]},
        },
        Job,
    )
    with pytest.raises(UserError, match="BackoffLimitExceeded") as caught:
        judge_job(failed, [], node="n")
    assert "kubectl get node n" in caught.value.hint
