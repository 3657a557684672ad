"""A way to the API server that answers by itself, or loses an answer, where a test says so: HTTP before `kubectl proxy`."""

import contextlib
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tests.e2e.cluster import Cluster
from tests.e2e.kube import NO_CREDENTIALS, kubeconfig_with
from tests.e2e.relay import CHUNK, Relay

Fault = Literal["", "closed", "unanswered", "unavailable", "cut"]
"""Closed before it is passed on; reset in the place of its answer; answered 503 by the way itself; a stream, reset in the place
of the first answer to so much that was sent: `MUCH`."""

MUCH = 100_000

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 11\r\nConnection: close\r\n\r\nno upstream"

_NAME = re.compile(r"/(namespaces|pods|jobs)/[^/?]+")


class Proxy(Relay):
    """Relays one request a connection, and what follows an upgrade.

    Attributes:
        kubeconfig: Leads through it.
        fault: What becomes of a call: "GET /api/v1/namespaces/NAME/pods".
        harmed: The calls that had a fault, in order.
    """

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        super().__init__()
        self.fault: Callable[[str], Fault] = lambda call: ""
        self.harmed: list[str] = []
        self._behind = cluster.api.path
        change = {"server": f"http://127.0.0.1:{self.port}"}
        self.kubeconfig = kubeconfig_with(cluster, kubeconfig, cluster=change, user=NO_CREDENTIALS)
        self.begin()

    def take(self, client: socket.socket) -> None:
        """Serve it."""
        self.keep(client)
        self.start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            call, request, is_upgrade = _request(client)
            fault = self.fault(call)
            if fault and fault != "cut":
                self.harmed.append(call)
            if fault == "unavailable":
                client.sendall(UNAVAILABLE)
            if fault not in ("closed", "unavailable"):
                server = socket.socket(socket.AF_UNIX)
                self.keep(server)
                server.connect(str(self._behind))
                server.sendall(request)
                if fault == "unanswered":
                    server.recv(CHUNK)
                    _reset(client)
                else:
                    sent = Counted()
                    if is_upgrade:
                        self.start(_pump, client, server, sent)
                    if _pump(server, client, until=sent if fault == "cut" else None):
                        self.harmed.append(call)
        client.close()


def _request(client: socket.socket) -> tuple[str, bytes, bool]:
    """Return what is asked, all of the request's bytes, and whether another protocol follows."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(client)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += _received(client)
    is_upgrade = b"upgrade" in fields
    if not is_upgrade:
        lines = [line for line in lines if not line.lower().startswith(b"connection:")] + [b"Connection: close"]
    method, path, _ = lines[0].decode().split(" ")
    kind = _NAME.sub(r"/\1/NAME", path.partition("?")[0])
    return f"{method} {kind}", b"\r\n".join(lines) + b"\r\n\r\n" + body, is_upgrade


def _received(sock: socket.socket) -> bytes:
    if not (data := sock.recv(CHUNK)):
        raise EOFError
    return data


class Counted:
    """Bytes that passed."""

    size = 0


def _pump(
    source: socket.socket, sink: socket.socket, passed: Counted | None = None, until: Counted | None = None
) -> bool:
    """Pass on what comes, to its end; true: what came after so much had passed the other way reset the sink instead."""
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            if until is not None and until.size >= MUCH:
                _reset(sink)
                source.shutdown(socket.SHUT_RDWR)
                return True
            sink.sendall(data)
            if passed is not None:
                passed.size += len(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
    return False


def _reset(sock: socket.socket) -> None:
    """Have the closing of a connection reset it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def proxy(cluster: Cluster, folder: Path) -> "contextlib.closing[Proxy]":
    """A proxy until the end of the block."""
    return contextlib.closing(Proxy(cluster, folder / "kubeconfig"))
