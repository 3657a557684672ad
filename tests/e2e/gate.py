"""A way to the API server that a test can break: a TCP relay on loopback, and the kubeconfig that leads through it."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.cluster import Cluster
from tests.e2e.kube import kubeconfig_with
from tests.processes import LIMIT_S

CHUNK = 65536


class Gate:
    """Relays whole connections.

    Attributes:
        is_open: Cleared: nothing passes and nobody is told, as when a network drops all packets.
        is_refusing: True: ends what connects, as a server that is being started anew.
        refused: How many were ended so.
        kubeconfig: Leads through it.
    """

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_refusing = False
        self.refused = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        raw = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        server = urlsplit(raw["clusters"][0]["cluster"]["server"])
        self._server = (str(server.hostname), server.port or 443)
        url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        change = {"server": url, "tls-server-name": server.hostname}
        self.kubeconfig = kubeconfig_with(cluster, kubeconfig, cluster=change)
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self) -> None:
        """End all connections of the moment."""
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        self.is_open.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join(LIMIT_S)
        for sock in self._sockets:
            sock.close()

    def _start(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError), self._listener:
            while True:
                client, _ = self._listener.accept()
                if self.is_refusing:
                    client.close()
                    self.refused += 1
                    continue
                server = socket.create_connection(self._server)
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    self._start(self._pump, source, sink)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self.is_open.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def gate(cluster: Cluster, folder: Path) -> Iterator[Gate]:
    """A gate until the end of the block."""
    found = Gate(cluster, folder / "kubeconfig")
    try:
        yield found
    finally:
        found.close()
