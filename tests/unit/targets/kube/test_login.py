"""What is refused, or given up, before the API server is asked."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
import uvloop

from inpod.errors import ExitCode, UserError
from inpod.targets.kube import login
from inpod.targets.kube.login import log_in

PLUGIN = """
import os, sys, time
told = open(sys.argv[1], "w")
print(os.getpid(), file=told, flush=True)
time.sleep(600)
"""
"""Tells who it is, by a pipe that ends with it, and never answers."""


def kubeconfig(folder: Path, cluster: dict[str, object], user: dict[str, object]) -> Path:
    path = folder / "config"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "prod", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "here", "context": {"cluster": "prod", "user": "me"}}],
    }
    path.write_text(json.dumps(config))
    return path


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
    path = kubeconfig(tmp_path, {"server": server} if server is not None else {}, {"token": "x"})
    with pytest.raises(UserError) as caught:
        asyncio.run(log_in(str(path), None))
    assert caught.value.exit_code is ExitCode.CLUSTER_UNREACHABLE
    assert caught.value.message == (f"The kubeconfig ({path}) cannot be used: the server of its cluster 'prod' {said}.")
    assert "https://HOST:PORT" in caught.value.hint


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["late", "cancelled"])
def test_a_plugin_that_does_not_answer_ends_with_the_wait_for_it(
    is_cancelled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = {"command": sys.executable, "args": ["-c", PLUGIN, str(pipe)]}
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", **command}
    path = kubeconfig(tmp_path, {"server": "https://kube.example"}, {"exec": plugin})

    async def story() -> None:
        logging_in = asyncio.ensure_future(log_in(str(path), None))
        with await asyncio.to_thread(pipe.open) as told:
            pid = int(await asyncio.to_thread(told.readline))
            if is_cancelled:
                logging_in.cancel()
            with pytest.raises(asyncio.CancelledError if is_cancelled else UserError) as caught:
                await logging_in
            # The end of the pipe is the plugin's.
            assert told.read() == ""
        assert is_cancelled or "no answer within" in str(caught.value)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    if not is_cancelled:
        monkeypatch.setattr(login, "LOGIN_LIMIT_S", 2.0)
    uvloop.run(story())
