import msgspec
import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.objects import Event, Job
from inpod.targets.kube.pod_objects import Pod
from inpod.targets.kube.progress import Started, Waiting, judge_ephemeral, judge_job, judge_pod
from inpod.targets.kube.resolve import Found

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
        (pod(), [], Waiting("node n to take the agent's pod", "j-1")),
        (pod(), [event("Pulling")], Waiting("image i to be pulled")),
        (
            pod(containerStatuses=agent(waiting={"reason": "ContainerCreating"})),
            [],
            Waiting("the agent's container to start", "j-1"),
        ),
        (
            pod(containerStatuses=agent(waiting={"reason": "ContainerCreating"})),
            [event("Pulling"), event("Pulled")],
            Waiting("the agent's container to start", "j-1"),
        ),
    ],
)
def test_what_is_not_there_yet_is_named(state: Pod, events: list[Event], what: Waiting) -> None:
    assert judge_pod(state, events, image="i", node="n") == what


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
            # runc's words, in the container's log.
            pod(
                phase="Failed",
                containerStatuses=agent(
                    terminated={"exitCode": 1, "reason": "Error", "message": "exec /usr/bin/python3: exec format error"}
                ),
            ),
            [],
            "The agent's image 'i' is for another kind of processor than the node has.",
            "kubernetes.io/arch",
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


TARGET = Found("shop", "api-1", "web", "c0ffee", "n")


def target_pod(container_id: str = "c0ffee", metadata: object = None, **agents_state: object) -> Pod:
    """Return the pod of `TARGET`, which has had another agent before."""
    status = {
        "containerStatuses": [{"name": "web", "containerID": f"containerd://{container_id}", "state": {"running": {}}}],
        "ephemeralContainerStatuses": [
            {"name": "inpod-agent-0", "state": {"terminated": {"exitCode": 1}}},
            *([{"name": "inpod-agent-1", "state": agents_state}] if agents_state else []),
        ],
    }
    return msgspec.convert({"metadata": metadata or {"name": "api-1"}, "spec": {}, "status": status}, Pod)


def judged(pod: Pod | None, *events: Event) -> Waiting | Started:
    return judge_ephemeral(pod, list(events), name="inpod-agent-1", target=TARGET, image="i")


def test_ephemeral_container_is_waited_for_until_it_runs() -> None:
    assert judged(target_pod()) == Waiting("node n to start the agent's container", "api-1")
    assert judged(target_pod(), event("Pulling")) == Waiting("image i to be pulled")
    starts = Waiting("the agent's container to start", "api-1")
    assert judged(target_pod(waiting={"reason": "PodInitializing"})) == starts
    assert judged(target_pod(running={})) == Started("api-1")


@pytest.mark.parametrize(
    ("pod", "says", "code"),
    [
        (None, "Pod 'api-1' was deleted.", ExitCode.TARGET_NOT_READY),
        (
            target_pod(metadata={"name": "api-1", "deletionTimestamp": "now"}, running={}),
            "Pod 'api-1' was deleted.",
            ExitCode.TARGET_NOT_READY,
        ),
        (
            target_pod("another", terminated={"exitCode": 137}),
            "Container 'web' of pod 'api-1' ended, and with it the agent.",
            ExitCode.TARGET_NOT_READY,
        ),
        (
            target_pod(waiting={"reason": "ImagePullBackOff", "message": "Back-off"}),
            "The agent's image 'i' cannot be pulled: Back-off",
            ExitCode.AGENT_START,
        ),
        (
            target_pod(waiting={"reason": "CreateContainerError", "message": "no room"}),
            "The agent's container cannot start: no room",
            ExitCode.AGENT_START,
        ),
        (
            target_pod(terminated={"exitCode": 1, "message": "inpod: port 61000: Address already in use\n"}),
            "The agent's container ended with exit code 1: inpod: port 61000: Address already in use",
            ExitCode.AGENT_START,
        ),
    ],
)
def test_ephemeral_container_that_will_not_run_says_why(pod: Pod | None, says: str, code: ExitCode) -> None:
    with pytest.raises(UserError) as caught:
        judged(pod)
    assert (caught.value.message, caught.value.exit_code) == (says, code)
