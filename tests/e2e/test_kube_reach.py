"""The API server is not reached, or does not take the credentials: one line says why, in seconds."""

import base64
import contextlib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.e2e.cluster import Namespace
from tests.e2e.kube import kubeconfig_with, refused


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
