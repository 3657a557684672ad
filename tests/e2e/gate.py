"""A way to the API server that a test can break: a TCP relay on loopback, and the kubeconfig that leads through it."""

import contextlib
import json
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.cluster import Cluster
from tests.e2e.kube import kubeconfig_with
from tests.e2e.relay import CHUNK, Relay


class Gate(Relay):
    """Relays whole connections.

    Attributes:
        is_open: Cleared: nothing passes and nobody is told, as when a network drops all packets.
        is_refusing: True: ends what connects, as a server that is being started anew.
        refused: How many were ended so.
        kubeconfig: Leads through it.
    """

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        super().__init__()
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_refusing = False
        self.refused = 0
        raw = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        server = urlsplit(raw["clusters"][0]["cluster"]["server"])
        self._server = (str(server.hostname), server.port or 443)
        change = {"server": f"https://127.0.0.1:{self.port}", "tls-server-name": server.hostname}
        self.kubeconfig = kubeconfig_with(cluster, kubeconfig, cluster=change)
        self.begin()

    def close(self) -> None:
        """End everything."""
        self.is_open.set()
        super().close()

    def take(self, client: socket.socket) -> None:
        """Pass it on, or end it."""
        if self.is_refusing:
            client.close()
            self.refused += 1
            return
        server = socket.create_connection(self._server)
        self.keep(client, server)
        for source, sink in ((client, server), (server, client)):
            self.start(self._pump, source, sink)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self.is_open.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def gate(cluster: Cluster, folder: Path) -> "contextlib.closing[Gate]":
    """A gate until the end of the block."""
    return contextlib.closing(Gate(cluster, folder / "kubeconfig"))
