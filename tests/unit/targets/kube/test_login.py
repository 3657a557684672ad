"""A kubeconfig that leads nowhere is refused before anything is asked."""

import asyncio
import json
from pathlib import Path

import pytest

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.login import log_in


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("", "cannot be ''"),
        (None, "is missing"),
        (5, "cannot be '5'"),
        ("kube.example", "cannot be 'kube.example'"),
        ("kube.example:6443", "cannot be 'kube.example:6443'"),
        ("ftp://kube.example", "cannot be 'ftp://kube.example'"),
        ("https://", "cannot be 'https://'"),
        ("https://kube.example:port", "cannot be 'https://kube.example:port'"),
        ("https://kube.example:65536", "cannot be 'https://kube.example:65536'"),
        ("https://[::1", "cannot be 'https://[::1'"),
        ("https://kube example", "cannot be 'https://kube example'"),
    ],
)
def test_a_server_that_is_no_url_is_named_with_its_place(server: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "prod", "cluster": {"server": server} if server is not None else {}}],
        "users": [{"name": "me", "user": {"token": "x"}}],
        "contexts": [{"name": "here", "context": {"cluster": "prod", "user": "me"}}],
    }
    path.write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        asyncio.run(log_in(str(path), None))
    assert caught.value.exit_code is ExitCode.CLUSTER_UNREACHABLE
    assert caught.value.message == (f"The kubeconfig ({path}) cannot be used: the server of its cluster 'prod' {said}.")
    assert "https://HOST:PORT" in caught.value.hint
