"""Ways to be let in by the real cluster: plugins, tokens, proxies, TLS names, and from inside a pod."""

import asyncio
import base64
import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from inpod.errors import UserError
from inpod.targets.kube.cluster import Cluster as Client
from inpod.targets.kube.objects import Listing, Named
from inpod.targets.kube.refusals import ApiRefusal
from tests.e2e.cluster import Cluster, Namespace
from tests.e2e.kube import NO_CREDENTIALS, kubeconfig_with, make_target, run, wait_until_nothing_is_left


def start_and_reconnect(here: Namespace, **options: Any) -> None:
    """Start an agent and end it: every way of talking to the cluster is used."""

    async def story() -> None:
        link = await make_target(here, "pod/web", **options).start_agent(lambda what: None)
        try:
            (await link.reconnect()).close()
        finally:
            await link.close()

    run(story())


@pytest.fixture(autouse=True)
def nothing_left(targets: Namespace) -> Iterator[None]:
    """No test leaves an agent."""
    yield
    wait_until_nothing_is_left(targets)


def user_of(cluster: Cluster) -> dict[str, Any]:
    raw = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    found: dict[str, Any] = raw["users"][0]["user"]
    return found


def server_of(cluster: Cluster) -> tuple[str, int]:
    url = urlsplit(cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
    return url.hostname or "", url.port or 443


@contextlib.contextmanager
def forwarder(address: str, to: tuple[str, int], *, is_proxy: bool) -> Iterator[tuple[int, list[str]]]:
    """Listen at `address`; pass connections on to `to`, or as an HTTP proxy does. Yields port and the hosts asked for."""
    asked: list[str] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            host, port = to
            if is_proxy:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(4096)
                method, name, _ = head.decode().split(" ", 2)
                assert method == "CONNECT"
                asked.append(name)
                host, port = name.rsplit(":", 1)[0], int(name.rsplit(":", 1)[1])
            else:
                asked.append(host)
            with socket.create_connection((host, port)) as there:
                if is_proxy:
                    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                pairs = {connection: there, there: connection}
                while True:
                    for ready in select.select([connection, there], [], [])[0]:
                        if not (data := ready.recv(65536)):
                            return
                        pairs[ready].sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server((address, 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)


def test_plugin_that_gives_a_certificate_is_used(targets: Namespace, tmp_path: Path) -> None:
    user = user_of(targets.cluster)
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {
            "clientCertificateData": base64.b64decode(user["client-certificate-data"]).decode(),
            "clientKeyData": base64.b64decode(user["client-key-data"]).decode(),
        },
    }
    plugin = {
        "apiVersion": credential["apiVersion"],
        "command": sys.executable,
        "args": ["-c", "import os; print(os.environ['CREDENTIAL'])"],
        "env": [{"name": "CREDENTIAL", "value": json.dumps(credential)}],
    }
    kubeconfig = kubeconfig_with(targets.cluster, tmp_path / "k", user={**NO_CREDENTIALS, "exec": plugin})
    start_and_reconnect(targets, kubeconfig=kubeconfig)


@pytest.fixture
def admin_token(targets: Namespace) -> Iterator[str]:
    """The token of a service account that may do anything in the namespace."""
    targets.kubectl("create", "serviceaccount", "robot")
    targets.kubectl("create", "rolebinding", "robot", "--clusterrole=admin", f"--serviceaccount={targets.name}:robot")
    yield targets.kubectl("create", "token", "robot").strip()
    targets.kubectl("delete", "rolebinding/robot", "serviceaccount/robot")


def with_expired_token(here: Namespace, folder: Path, token: str) -> tuple[str, Path]:
    """Return a kubeconfig with a plugin whose first token is refused, as an expired one is, and where it counts its calls."""
    counter = folder / "asked"
    program = (
        "import json, sys, pathlib\n"
        "counter = pathlib.Path(sys.argv[1])\n"
        "asked = int(counter.read_text()) if counter.exists() else 0\n"
        "counter.write_text(str(asked + 1))\n"
        "token = sys.argv[2] if asked else 'expired'\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1beta1', 'status': {'token': token}}))\n"
    )
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": sys.executable,
        "args": ["-c", program, str(counter), token],
    }
    return kubeconfig_with(here.cluster, folder / "k", user={**NO_CREDENTIALS, "exec": plugin}), counter


def test_plugin_is_asked_again_when_its_token_has_expired(targets: Namespace, tmp_path: Path, admin_token: str) -> None:
    kubeconfig, counter = with_expired_token(targets, tmp_path, admin_token)
    start_and_reconnect(targets, kubeconfig=kubeconfig)
    assert counter.read_text() == "2"


def test_call_that_hears_late_of_its_expired_token_takes_the_one_that_is_there(
    targets: Namespace, tmp_path: Path, admin_token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig, counter = with_expired_token(targets, tmp_path, admin_token)
    send, is_renewed, refused = Client._send, asyncio.Event(), []

    async def delayed(self: Client, *arguments: Any) -> Any:
        answer = await send(self, *arguments)
        if answer[0] == 401:
            refused.append(answer)
            if len(refused) == 2:
                await is_renewed.wait()
        return answer

    async def story() -> None:
        async with await Client.connect(kubeconfig=kubeconfig, namespace=targets.name) as client:
            path = f"/api/v1/namespaces/{targets.name}/pods"
            calls = [asyncio.ensure_future(client.get(path, Listing[Named])) for _ in range(2)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            is_renewed.set()
            assert all(found.items for found in await asyncio.gather(*calls))

    monkeypatch.setattr(Client, "_send", delayed)
    run(story())
    assert len(refused) == 2
    assert counter.read_text() == "2"


@pytest.mark.parametrize("way", ["proxy-url", "HTTPS_PROXY"])
def test_proxy_carries_all_calls(way: str, targets: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with forwarder("127.0.0.1", ("", 0), is_proxy=True) as (port, asked):
        proxy = f"http://127.0.0.1:{port}"
        of_config, of_environment = (proxy, "http://127.0.0.1:1") if way == "proxy-url" else (None, proxy)
        kubeconfig = kubeconfig_with(targets.cluster, tmp_path / "k", cluster={"proxy-url": of_config})
        with monkeypatch.context() as environment:
            environment.delenv("NO_PROXY", raising=False)
            environment.delenv("no_proxy", raising=False)
            environment.setenv("HTTPS_PROXY", of_environment)
            start_and_reconnect(targets, kubeconfig=kubeconfig)
    # At least one for the calls, and one for each of two websockets.
    assert len(asked) >= 3
    assert set(asked) == {"{}:{}".format(*server_of(targets.cluster))}


def test_server_by_an_address_that_its_certificate_lacks(targets: Namespace, tmp_path: Path) -> None:
    """It is refused, unless the kubeconfig names the server for TLS, or says not to look."""
    with forwarder("127.0.0.2", server_of(targets.cluster), is_proxy=False) as (port, _):
        server = f"https://127.0.0.2:{port}"

        def change(**more: Any) -> str:
            return kubeconfig_with(targets.cluster, tmp_path / "k", cluster={"server": server, **more})

        with pytest.raises(UserError, match=rf"TLS with the API server at {server} failed: .*127\.0\.0\.2"):
            start_and_reconnect(targets, kubeconfig=change())
        start_and_reconnect(targets, kubeconfig=change(**{"tls-server-name": "kubernetes.default.svc"}))
        insecure = {"certificate-authority-data": None, "certificate-authority": None}
        start_and_reconnect(targets, kubeconfig=change(**{"insecure-skip-tls-verify": True, **insecure}))


def test_namespace_of_the_context_that_is_asked_for_counts(targets: Namespace, tmp_path: Path) -> None:
    raw = json.loads(Path(kubeconfig_with(targets.cluster, tmp_path / "k")).read_text())
    (only,) = raw["contexts"]
    raw["contexts"].append({"name": "other", "context": {**only["context"], "namespace": targets.name}})
    (tmp_path / "k").write_text(json.dumps(raw))

    async def namespaces() -> list[str]:
        found = []
        for context in (None, "other"):
            async with await Client.connect(kubeconfig=str(tmp_path / "k"), context=context) as client:
                found.append(client.namespace)
        return found

    assert run(namespaces()) == ["default", targets.name]
    start_and_reconnect(targets, kubeconfig=str(tmp_path / "k"), context="other", kube_namespace=None)


def test_several_kubeconfigs_are_merged(targets: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = json.loads(Path(kubeconfig_with(targets.cluster, tmp_path / "all")).read_text())
    for name, parts in (("one", ("contexts", "current-context")), ("two", ("clusters", "users"))):
        (tmp_path / name).write_text(
            json.dumps({"contexts": [], "clusters": [], "users": []} | {p: raw[p] for p in parts})
        )
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'one'}:{tmp_path / 'two'}:{tmp_path / 'missing'}")
    start_and_reconnect(targets, kubeconfig=None)


def test_no_key_stays_on_the_disk(targets: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    async def story() -> None:
        async with await Client.connect(kubeconfig=targets.cluster.kubeconfig) as client:
            assert list(folder.iterdir()) == []
            assert (await client.get("/api/v1/namespaces", Listing[Named])).items
            with pytest.raises(ApiRefusal):
                await client.get(f"/api/v1/namespaces/{targets.name}/pods/none", Named)

    run(story())


def test_inside_a_pod_its_service_account_is_used(targets: Namespace, admin_token: str, tmp_path: Path) -> None:
    """Its files stand where a pod has them, in a mount namespace of this test."""
    user = json.loads(Path(kubeconfig_with(targets.cluster, tmp_path / "k")).read_text())
    authority = base64.b64decode(user["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    for name, text in (("token", admin_token), ("ca.crt", authority), ("namespace", targets.name)):
        (tmp_path / name).write_text(text)
    program = (
        "import asyncio, sys\n"
        "from inpod.targets.kube.list import list_targets\n"
        "name, found = asyncio.run(list_targets())\n"
        "print(name, *sorted(each.target for each in found if each.is_ready))\n"
    )
    mount = "mount -t tmpfs none /run && mkdir -p /run/secrets/kubernetes.io && cp -r $0 /run/secrets/kubernetes.io/serviceaccount"
    host, port = server_of(targets.cluster)
    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"} | {
        "HOME": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$1" -c "$2"', tmp_path, sys.executable, program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    name, *found = done.stdout.split()
    assert name == targets.name
    assert {"pod/web", "deployment/api"} <= set(found)
