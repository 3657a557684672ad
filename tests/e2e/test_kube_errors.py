"""What a user can get wrong, or lack, in a real cluster: one line, a hint, an exit code, in seconds, and nothing left."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.list import list_targets
from tests.e2e.cluster import Namespace, until
from tests.e2e.kube import inpod_exec, make_target, refused, run, wait_until_nothing_is_left
from tests.e2e.proxy import Fault, proxy
from tests.processes import LIMIT_S


@pytest.fixture(autouse=True)
def nothing_left(targets: Namespace) -> Iterator[None]:
    """No test leaves an agent."""
    yield
    wait_until_nothing_is_left(targets)


def pod(name: str, image: str, **spec: Any) -> str:
    container = {"name": "web", "image": image, "command": ["python3", "-c", "import signal; signal.pause()"]}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **spec},
        }
    )


# What is asked for is not there.


def test_pod_that_is_not_there_suggests_one_that_is(targets: Namespace) -> None:
    error = refused(targets, "pod/wbe")
    assert error.message == f"There is no pod 'wbe' in namespace '{targets.name}'."
    assert error.hint == "Did you mean --target pod/web?"
    assert error.exit_code == ExitCode.TARGET_NOT_FOUND


def test_name_of_a_deployment_given_for_a_pod_is_noticed(targets: Namespace) -> None:
    assert refused(targets, "pod/api").hint == "There is a deployment of that name: --target deployment/api."
    assert refused(targets, "deployment/web").hint == "There is a pod of that name: --target pod/web."


def test_deployment_that_is_not_there_suggests_one_that_is(targets: Namespace) -> None:
    error = refused(targets, "deployment/orderss")
    assert error.hint == "Did you mean --target deployment/orders?"
    assert error.exit_code == ExitCode.TARGET_NOT_FOUND


def test_container_that_is_not_there_lists_those_that_are(targets: Namespace) -> None:
    error = refused(targets, "pod/web/container/db")
    assert error.message == "Pod 'web' has no container 'db'."
    assert error.hint == "It has: web."
    assert error.exit_code == ExitCode.TARGET_NOT_FOUND


def test_namespace_that_is_not_there_is_told_from_a_pod(targets: Namespace) -> None:
    error = refused(targets, kube_namespace=targets.name[:-1])
    assert error.message == f"There is no namespace '{targets.name[:-1]}'."
    assert targets.name in error.hint
    assert error.exit_code == ExitCode.TARGET_NOT_FOUND
    with pytest.raises(UserError, match="There is no namespace"):
        run(list_targets(kubeconfig=targets.cluster.kubeconfig, kube_namespace="no-such"))


def test_context_that_is_not_there_lists_those_that_are(targets: Namespace) -> None:
    error = refused(targets, context="prod")
    assert error.message == "There is no context 'prod' in the kubeconfig."
    assert error.hint.startswith("It has: ")
    assert error.exit_code == ExitCode.TARGET_NOT_FOUND


def test_missing_or_broken_kubeconfig_is_named(targets: Namespace, tmp_path: Path) -> None:
    assert refused(targets, kubeconfig=str(tmp_path / "none")).message.startswith("There is no kubeconfig at")
    for text in ("", "[1, 2", "clusters: 3", "{}", "contexts: []"):
        (tmp_path / "broken").write_text(text)
        error = refused(targets, kubeconfig=str(tmp_path / "broken"))
        assert "kubeconfig" in error.message
        assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE


# It is there, and does not run.


def test_pod_that_does_not_run_says_why(targets: Namespace) -> None:
    image = targets.cluster.image
    targets.kubectl("apply", "-f", "-", text=pod("nowhere", image, nodeSelector={"no": "node"}))
    targets.kubectl("apply", "-f", "-", text=pod("no-image", "localhost/none:1"))
    targets.kubectl(
        "apply",
        "-f",
        "-",
        text=pod(
            "over", image, restartPolicy="Never", containers=[{"name": "web", "image": image, "command": ["true"]}]
        ),
    )
    targets.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/over", "--timeout=60s")
    for name, says in (("nowhere", "nodes are available"), ("no-image", "ImagePull"), ("over", "Succeeded")):

        def is_said(name: str = name, says: str = says) -> bool:
            error = refused(targets, f"pod/{name}")
            assert error.exit_code == ExitCode.TARGET_NOT_READY
            return says in error.message

        until(says, is_said)


def test_deployment_without_a_ready_pod_says_why(targets: Namespace) -> None:
    targets.kubectl("create", "deployment", "broken", "--image=localhost/none:1")
    until("pods", lambda: "broken-" in refused(targets, "deployment/broken").message)
    assert refused(targets, "deployment/broken").exit_code == ExitCode.TARGET_NOT_READY
    targets.kubectl("scale", "deployment", "broken", "--replicas=0")
    assert "it is scaled to 0" in refused(targets, "deployment/broken").message


# The cluster does not want the agent.


def test_image_that_cannot_be_pulled_is_told_at_once(targets: Namespace) -> None:
    error = refused(targets, image="localhost/no-such-agent:1")
    assert error.message.startswith("The agent's image 'localhost/no-such-agent:1' cannot be pulled: ")
    assert len(error.message) > 80, "without the reason"
    assert "--agent-image" in error.hint
    assert error.exit_code == ExitCode.AGENT_START


def test_ctrl_c_while_a_failed_start_is_undone_does_not_hide_why_it_failed(targets: Namespace, tmp_path: Path) -> None:
    with proxy(targets.cluster, tmp_path) as between:

        def interrupt(call: str) -> Fault:
            if call.startswith("DELETE "):
                os.kill(process.pid, signal.SIGINT)
                until("the signal to arrive", lambda: not is_pending(process.pid, signal.SIGINT))
            return ""

        between.fault = interrupt
        options = ["-i", "localhost/no-such-agent:1"]
        with inpod_exec(targets, "pod/web", options, ["true"], between.kubeconfig) as process:
            _, errors = process.communicate(timeout=LIMIT_S)
    last = errors.splitlines()[-1]
    assert last.startswith(
        "inpod: Interrupted, after this: The agent's image 'localhost/no-such-agent:1' cannot be pulled"
    )
    assert last.endswith("--agent-image.")
    # As documented of Ctrl-C: by the signal itself.
    assert process.returncode == -signal.SIGINT


def is_pending(pid: int, number: int) -> bool:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool((int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)) & 1 << number - 1)


def test_image_without_python_is_told(targets: Namespace) -> None:
    nodes = targets.cluster.api.get("", "nodes")["items"]
    names = [name for node in nodes for image in node["status"]["images"] for name in image["names"]]
    pause = next((name for name in names if "pause" in name and "@" not in name), None)
    assert pause is not None, "every node has the image of pod sandboxes"
    error = refused(targets, image=pause)
    assert error.message == f"There is no python3 in the agent's image '{pause}'."
    assert error.exit_code == ExitCode.AGENT_START


def test_pod_security_is_told_in_the_servers_words(namespace: Namespace) -> None:
    namespace.kubectl("apply", "-f", "-", text=pod("web", namespace.cluster.image))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=baseline")
    error = refused(namespace)
    assert 'violates PodSecurity "baseline:latest"' in error.message
    assert "hostPID" in error.message
    assert error.exit_code == ExitCode.AGENT_START
    wait_until_nothing_is_left(namespace)


def test_quota_is_told_in_the_servers_words(namespace: Namespace) -> None:
    namespace.kubectl("apply", "-f", "-", text=pod("web", namespace.cluster.image))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    namespace.kubectl("create", "quota", "small", "--hard=pods=1")
    until(
        "the quota to count",
        lambda: namespace.get("resourcequotas", "small")["status"].get("used", {}).get("pods") == "1",
    )
    error = refused(namespace)
    assert error.message.startswith("A quota does not allow the agent:")
    assert "exceeded quota: small" in error.message
    assert error.exit_code == ExitCode.AGENT_START
    wait_until_nothing_is_left(namespace)


def test_too_short_a_limit_says_what_was_waited_for(targets: Namespace) -> None:
    error = refused(targets, startup_timeout_s=0.3)
    assert error.message.startswith("The agent did not start within 0.3 s; still waiting for ")
    assert "--agent-startup-timeout" in error.hint
    assert error.exit_code == ExitCode.AGENT_START


def test_agent_that_cannot_be_reached_is_told_in_the_nodes_words(
    targets: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its container runs, and nothing listens."""
    deaf = ["python3", "-c", "import signal; signal.pause()"]
    monkeypatch.setattr("inpod.targets.kube.start.command", lambda *arguments: deaf)
    said: list[str] = []
    with pytest.raises(UserError) as caught:
        run(make_target(targets, "pod/web", startup_timeout_s=8).start_agent(said.append))
    error = caught.value
    assert error.message.startswith("The agent did not start within 8 s; still waiting for the agent to answer: ")
    assert "connection refused" in error.message
    assert error.exit_code == ExitCode.AGENT_START
    assert said.count("Waiting for the agent to answer") == 1
    wait_until_nothing_is_left(targets)
