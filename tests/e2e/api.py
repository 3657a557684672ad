"""The API server as tests ask it again and again: by one `kubectl proxy`, for each start of kubectl takes longer than an answer."""

import asyncio
import contextlib
import http.client
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import unix_connect
from websockets.typing import Subprotocol

from tests.processes import LIMIT_S, end, next_line

STDOUT, STDERR, STATUS = 1, 2, 3
"""Channels of `v4.channel.k8s.io` (k8s.io/apimachinery/pkg/util/remotecommand): the first byte of each message."""

GROUPS = {"jobs": "/apis/batch/v1"}
"""Where kinds are that are not of the core."""


class Api:
    """A running proxy. Only this user reaches it.

    Attributes:
        path: Of its socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, namespace: str, kind: str, name: str = "", **query: str) -> dict[str, Any]:
        """Return an object, or the list of a kind.

        Args:
            namespace: "" for what is in none.
            kind: In the plural, as in URLs.
        """
        connection = http.client.HTTPConnection("localhost", timeout=LIMIT_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.settimeout(LIMIT_S)
            connection.sock.connect(str(self.path))
            connection.request("GET", f"{_url(namespace, kind, name)}?{urlencode(query)}")
            answer = connection.getresponse()
            said = answer.read()
        assert answer.status == 200, said
        found: dict[str, Any] = json.loads(said)
        return found

    def execute(self, namespace: str, pod: str, command: Sequence[str]) -> tuple[bool, str, str]:
        """Run a command in a pod's only container; return whether it succeeded, what it printed, and its errors."""
        query = [("stdout", "true"), ("stderr", "true"), *(("command", word) for word in command)]
        url = f"ws://localhost{_url(namespace, 'pods', pod)}/exec?{urlencode(query, quote_via=quote)}"
        said = asyncio.run(self._listen(url))
        is_success = json.loads(said[STATUS])["status"] == "Success"
        return is_success, said[STDOUT].decode(), said[STDERR].decode()

    async def _listen(self, url: str) -> dict[int, bytes]:
        """Return all that comes through the channels up to their end."""
        said = {STDOUT: b"", STDERR: b"", STATUS: b""}
        channels = [Subprotocol("v4.channel.k8s.io")]
        async with asyncio.timeout(LIMIT_S), unix_connect(str(self.path), url, subprotocols=channels) as stream:
            async for message in stream:
                assert isinstance(message, bytes)
                said[message[0]] += message[1:]
        return said


@contextlib.contextmanager
def serving(kubectl: str, kubeconfig: str) -> Iterator[Api]:
    """Run a proxy until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="inpod-api-") as folder:
        path = Path(folder, "socket")
        # Without the filter, that keeps browsers of this machine from pods.
        command = [kubectl, "proxy", f"--unix-socket={path}", "--reject-paths=^$"]
        # By HTTP/2 all requests are on one connection, which client-go gives up where a busy server is silent for 15 s.
        environment = dict(os.environ, KUBECONFIG=kubeconfig, DISABLE_HTTP2="1")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                assert next_line(process.stdout).startswith("Starting to serve")
                yield Api(path)
            finally:
                end(process)


def _url(namespace: str, kind: str, name: str) -> str:
    of = f"/namespaces/{namespace}" if namespace else ""
    return f"{GROUPS.get(kind, '/api/v1')}{of}/{kind}" + (f"/{name}" if name else "")
