"""What a user can get wrong, or lack, in a real cluster: one line, a hint, an exit code, in seconds, and nothing left."""

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.list import list_targets
from inpod.targets.kube.rights import RIGHTS
from tests.e2e.cluster import Namespace, until
from tests.e2e.kube import kubeconfig_with, make_target, run, wait_until_nothing_is_left

SECONDS = 20.0
"""Bound of a test; the errors themselves take 1 to 11 (an API server that does not answer)."""


def refused(here: Namespace, text: str = "pod/web", **options: Any) -> UserError:
    """Return the error that starting an agent ends in."""
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        run(make_target(here, text, **options).start_agent(lambda what: None))
    assert time.monotonic() - started < SECONDS
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


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


def test_image_without_python_is_told(targets: Namespace) -> None:
    nodes = targets.cluster.get("nodes")["items"]
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
        lambda: (
            namespace.cluster.get("quota", "small", "-n", namespace.name)["status"].get("used", {}).get("pods") == "1"
        ),
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


# The user may not.


@pytest.fixture
def user(targets: Namespace, tmp_path: Path) -> Iterator[Callable[[list[dict[str, Any]]], str]]:
    """Return what makes a kubeconfig of a service account with the rules given, and no other right."""
    made = 0

    def make(rules: list[dict[str, Any]]) -> str:
        nonlocal made
        made += 1
        name = f"dev{made}"
        targets.kubectl("create", "serviceaccount", name)
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name},
            "rules": rules,
        }
        targets.kubectl("apply", "-f", "-", text=json.dumps(role))
        targets.kubectl("create", "rolebinding", name, f"--role={name}", f"--serviceaccount={targets.name}:{name}")
        token = targets.kubectl("create", "token", name).strip()
        gone = dict.fromkeys(("client-certificate-data", "client-key-data", "client-certificate", "client-key", "exec"))
        return kubeconfig_with(targets.cluster, tmp_path / name, user={**gone, "token": token})

    yield make
    for number in range(1, made + 1):
        for kind in ("rolebinding", "role", "serviceaccount"):
            targets.kubectl("delete", kind, f"dev{number}")


def rules(without: tuple[str, str] | None = None) -> list[dict[str, Any]]:
    """Return the rules of the documented Role."""
    return [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]}
        for right in RIGHTS
        if (right.verb, right.resource) != without
    ]


def test_documented_role_is_enough(targets: Namespace, user: Callable[[list[dict[str, Any]]], str]) -> None:
    async def story() -> None:
        for text in ("pod/web", "deployment/api"):
            link = await make_target(targets, text, kubeconfig=kubeconfig).start_agent(lambda what: None)
            (await link.reconnect()).close()
            await link.close()
        assert (await list_targets(kubeconfig=kubeconfig, kube_namespace=targets.name))[1]

    kubeconfig = user(rules())
    run(story())


@pytest.mark.parametrize("right", [r for r in RIGHTS if r.is_checked], ids=lambda r: f"{r.verb} {r.resource}")
def test_each_missing_right_is_named_before_anything_is_made(
    right: Any, targets: Namespace, user: Callable[[list[dict[str, Any]]], str]
) -> None:
    error = refused(
        targets,
        "deployment/api" if right.resource == "deployments" else "pod/web",
        kubeconfig=user(rules((right.verb, right.resource))),
    )
    assert error.message == f"You have no right to {right.verb} {right.resource} in namespace '{targets.name}'."
    assert error.exit_code == ExitCode.NO_PERMISSION


def test_port_forward_that_is_refused_names_the_verb(
    targets: Namespace, user: Callable[[list[dict[str, Any]]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the review of rights says yes and the API server then no."""

    async def unchecked(*_: object, **__: object) -> None: ...

    monkeypatch.setattr("inpod.targets.kube.target.check_rights", unchecked)
    kubeconfig = user([r for r in rules(("get", "pods/portforward")) if r["resources"] != ["pods/portforward"]])
    error = refused(targets, kubeconfig=kubeconfig)
    assert error.message == f"You have no right to get pods/portforward in namespace '{targets.name}'."
    assert error.exit_code == ExitCode.NO_PERMISSION


# The API server is not reached.


def test_refused_connection_is_told(targets: Namespace, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = f"https://127.0.0.1:{closed.getsockname()[1]}"
        error = refused(
            targets, kubeconfig=kubeconfig_with(targets.cluster, tmp_path / "k", cluster={"server": server})
        )
    assert error.message.startswith(f"The API server at {server} cannot be reached: ")
    assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE


def test_name_that_does_not_resolve_is_told(targets: Namespace, tmp_path: Path) -> None:
    kubeconfig = kubeconfig_with(targets.cluster, tmp_path / "k", cluster={"server": "https://no-such.invalid:6443"})
    error = refused(targets, kubeconfig=kubeconfig)
    assert "https://no-such.invalid:6443 cannot be reached" in error.message
    assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE


def test_silent_server_is_told_in_time(targets: Namespace, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"https://127.0.0.1:{silent.getsockname()[1]}"
        error = refused(
            targets, kubeconfig=kubeconfig_with(targets.cluster, tmp_path / "k", cluster={"server": server})
        )
    assert error.message == f"The API server at {server} cannot be reached: no answer in time"


def test_something_else_that_answers_is_told(targets: Namespace, tmp_path: Path) -> None:
    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                with other.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=answer, daemon=True).start()
        server = f"http://127.0.0.1:{other.getsockname()[1]}"
        kubeconfig = kubeconfig_with(targets.cluster, tmp_path / "k", cluster={"server": server})
        assert "is no Kubernetes API server" in refused(targets, kubeconfig=kubeconfig).message
        other.shutdown(socket.SHUT_RDWR)


def test_wrong_authority_is_a_tls_failure(targets: Namespace, tmp_path: Path) -> None:
    import ssl

    authority = Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt").read_text()
    one = authority[: authority.index("-----END CERTIFICATE-----")] + "-----END CERTIFICATE-----\n"
    one = one[one.index("-----BEGIN") :]
    change = {"certificate-authority": None, "certificate-authority-data": base64.b64encode(one.encode()).decode()}
    error = refused(targets, kubeconfig=kubeconfig_with(targets.cluster, tmp_path / "k", cluster=change))
    assert error.message.startswith("TLS with the API server at ")
    assert "certificate verify failed" in error.message
    assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE


def test_credentials_that_are_refused_are_told(targets: Namespace, tmp_path: Path) -> None:
    gone = dict.fromkeys(("client-certificate-data", "client-key-data", "client-certificate", "client-key", "exec"))
    kubeconfig = kubeconfig_with(targets.cluster, tmp_path / "k", user={**gone, "token": "expired"})
    error = refused(targets, kubeconfig=kubeconfig)
    assert "does not accept your credentials" in error.message
    assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["sh", "-c", "echo please log in first >&2; exit 3"], "please log in first"),
        (["no-such-plugin"], "there is no command 'no-such-plugin'"),
        (["echo", "no json"], "credential plugin"),
    ],
)
def test_failing_credential_plugin_is_told_in_its_words(
    command: list[str], says: str, targets: Namespace, tmp_path: Path
) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": command[0], "args": command[1:]}
    gone = dict.fromkeys(("client-certificate-data", "client-key-data", "client-certificate", "client-key", "token"))
    kubeconfig = kubeconfig_with(targets.cluster, tmp_path / "k", user={**gone, "exec": plugin})
    error = refused(targets, kubeconfig=kubeconfig)
    assert says in error.message
    assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE
