"""Two hosts made of network namespaces and joined by a cable: a pod with its original service, and a client."""

import contextlib
import errno
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from inpod.agent import namespaces

T = TypeVar("T")

POD_IPV4, POD_IPV6 = "10.88.0.1", "fd88::1"
CLIENT_IPV4, CLIENT_IPV6 = "10.88.0.2", "fd88::2"
CONDITION_LIMIT_S = 15.0
CALL_LIMIT_S = 10.0

LET_GO_LIMIT_S = 10.0
"""For what takes 2 s on a quiet machine: who is silent loses his ports. A link counts as lost after 15 s."""

LOOK_AGAIN_S = 0.01


class Netns:
    """A fresh network namespace. Sockets made inside work from any thread.

    Attributes:
        path: Where the agent finds it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.fd = self.inside(_enter_fresh)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.inode = os.fstat(self.fd).st_ino

    def inside(self, act: Callable[[], T]) -> T:
        """Run `act` in a thread that is in this namespace."""
        return self._thread.submit(act).result(CONDITION_LIMIT_S)

    def run(self, *command: str) -> None:
        """Run a command inside."""
        self.inside(lambda: subprocess.run(command, check=True, timeout=CONDITION_LIMIT_S))

    def connect(self, ip: str, port: int, limit_s: float = CALL_LIMIT_S) -> socket.socket:
        """Return a connection from here."""
        sock = self.inside(lambda: socket.socket(_family(ip)))
        sock.settimeout(limit_s)
        try:
            sock.connect((ip, port))
        except OSError:
            sock.close()
            raise
        return sock

    def listen(self, ip: str, port: int, backlog: int = 100) -> socket.socket:
        """Return a listener here; `::` takes IPv4 too."""

        def act() -> socket.socket:
            return socket.create_server((ip, port), family=_family(ip), backlog=backlog, dualstack_ipv6=ip == "::")

        return self.inside(act)

    def close(self) -> None:
        self._thread.shutdown()
        os.close(self.fd)


@dataclass
class Hosts:
    pod: Netns
    client: Netns


@contextmanager
def two_hosts() -> Iterator[Hosts]:
    with contextlib.ExitStack() as undo:
        pod, client = Netns(), Netns()
        undo.callback(pod.close)
        undo.callback(client.close)
        pod.run("ip", "link", "set", "lo", "up")
        pod.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "v1")
        pod.run("ip", "link", "set", "v1", "netns", client.path)
        client.run("ip", "link", "set", "v1", "name", "eth0")
        for netns, ipv4, ipv6 in ((pod, POD_IPV4, POD_IPV6), (client, CLIENT_IPV4, CLIENT_IPV6)):
            netns.run("ip", "addr", "add", f"{ipv4}/24", "dev", "eth0")
            netns.run("ip", "addr", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
            netns.run("ip", "link", "set", "eth0", "up")
        yield Hosts(pod, client)


class Original:
    """The target's own service: greets, then answers what it is sent with the same, up to EOF.

    Args:
        may_read: Called before each read with how much was read; waits as long as it likes.
        is_echoing: False answers nothing but EOF.
    """

    def __init__(
        self,
        pod: Netns,
        ip: str,
        port: int,
        *,
        may_read: Callable[[int], object] = lambda size: None,
        is_echoing: bool = True,
    ) -> None:
        self._may_read = may_read
        self._is_echoing = is_echoing
        self._listener = pod.listen(ip, port)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_one, args=[sock], daemon=True).start()

    def _serve_one(self, sock: socket.socket) -> None:
        size = 0
        with sock, contextlib.suppress(OSError):
            sock.sendall(b"original\n")
            while data := sock.recv(1 << 18):
                size += len(data)
                if self._is_echoing:
                    sock.sendall(data)
                self._may_read(size)


def who_serves(client: Netns, ip: str, port: int, limit_s: float = CALL_LIMIT_S) -> str:
    """Return the first line that a fresh connection gets, or the name of the errno that it ends with."""
    try:
        with client.connect(ip, port, limit_s) as sock, sock.makefile("rb") as file:
            return file.readline().decode().strip() or "EOF"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def wait_until(is_true: Callable[[], object], what: str, limit_s: float = CONDITION_LIMIT_S) -> float:
    """Wait for a condition; return how long that took."""
    start = time.monotonic()
    while not is_true():
        assert time.monotonic() - start < limit_s, f"not within {limit_s} s: {what}"
        time.sleep(LOOK_AGAIN_S)
    return time.monotonic() - start


def close_with_reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _enter_fresh() -> int:
    namespaces.unshare(namespaces.CLONE_NEWNET)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def _family(ip: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in ip else socket.AF_INET
