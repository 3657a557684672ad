"""The documented Role is enough, and each right that is missing is named before anything is made."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inpod.errors import ExitCode
from inpod.targets.kube import lease
from inpod.targets.kube.cluster import Cluster as Client
from inpod.targets.kube.list import list_targets
from inpod.targets.kube.refusals import ApiRefusal
from inpod.targets.kube.rights import RIGHTS
from tests.e2e.cluster import Namespace
from tests.e2e.kube import kubeconfig_with, make_target, refused, run, wait_until_nothing_is_left
from tests.processes import LIMIT_S


@pytest.fixture(autouse=True)
def nothing_left(targets: Namespace) -> Iterator[None]:
    """No test leaves an agent."""
    yield
    wait_until_nothing_is_left(targets)


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


def rules(without: tuple[str, str] | None = None, *, is_ephemeral: bool = False) -> list[dict[str, Any]]:
    """Return the rules of a documented Role."""
    other = "job" if is_ephemeral else "ephemeral"
    return [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]}
        for right in RIGHTS
        if (right.verb, right.resource) != without and right.needs_it != (other,)
    ]


@pytest.mark.parametrize("is_ephemeral", [False, True], ids=["Job", "ephemeral"])
def test_documented_role_is_enough(
    targets: Namespace, user: Callable[[list[dict[str, Any]]], str], is_ephemeral: bool
) -> None:
    async def story() -> None:
        for text in ("pod/web", "deployment/api"):
            target = make_target(targets, text, kubeconfig=kubeconfig, is_ephemeral=is_ephemeral)
            link = await target.start_agent(lambda what: None)
            (await link.reconnect()).close()
            await link.close()
        assert (await list_targets(kubeconfig=kubeconfig, kube_namespace=targets.name))[1]

    kubeconfig = user(rules(is_ephemeral=is_ephemeral))
    run(story())


@pytest.mark.parametrize("right", [r for r in RIGHTS if r.is_checked], ids=lambda r: f"{r.verb} {r.resource}")
def test_each_missing_right_is_named_before_anything_is_made(
    right: Any, targets: Namespace, user: Callable[[list[dict[str, Any]]], str]
) -> None:
    is_ephemeral = right.needs_it == ("ephemeral",)
    error = refused(
        targets,
        "deployment/api" if right.resource == "deployments" else "pod/web",
        kubeconfig=user(rules((right.verb, right.resource), is_ephemeral=is_ephemeral)),
        is_ephemeral=is_ephemeral,
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


def test_right_that_is_taken_away_meanwhile_is_told_once(
    targets: Namespace,
    user: Callable[[list[dict[str, Any]]], str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kubeconfig = user(rules())
    monkeypatch.setattr(lease, "RENEW_EVERY_S", 0.1)
    monkeypatch.setattr(lease, "RETRY_EVERY_S", 0.1)
    patch, has_been_refused = Client.patch, asyncio.Semaphore(0)

    async def counted(self: Client, *arguments: Any, **options: Any) -> None:
        try:
            await patch(self, *arguments, **options)
        except ApiRefusal:
            has_been_refused.release()
            raise

    async def story() -> None:
        link = await make_target(targets, "pod/web", kubeconfig=kubeconfig).start_agent(lambda what: None)
        try:
            monkeypatch.setattr(Client, "patch", counted)
            less = {"rules": rules(without=("patch", "jobs"))}
            targets.kubectl("patch", "role", "dev1", "--type=merge", "-p", json.dumps(less))
            async with asyncio.timeout(LIMIT_S):
                for _ in range(5):
                    await has_been_refused.acquire()
        finally:
            await link.close()

    run(story())
    (said,) = [record.getMessage() for record in caplog.records if record.name == lease.__name__]
    assert "cannot patch resource" in said
    assert "the agent ends within 60 s unless" in said
