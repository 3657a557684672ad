"""Stealing beside a service mesh's sidecar: a proxy in the pod with its own rules, which hands requests over by loopback."""

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.netns.redirects import TECHNIQUES, holding
from tests.netns.traffic import CLIENT_IPV4, POD_IPV4, Hosts, Netns, Original, two_hosts
from tests.packages import need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT, SIDECAR_PORT = 8080, 15006
SIDECAR_IP = "127.0.0.6"
"""From here Istio's sidecar calls the application, so that its own rules leave that alone."""

NFT_RULES = f"""
table ip mesh {{
    chain arriving {{
        type nat hook prerouting priority dstnat;
        tcp dport {PORT} redirect to :{SIDECAR_PORT}
    }}
    chain leaving {{
        type nat hook output priority -100;
        ip saddr {SIDECAR_IP} oif lo return
        oif lo return
    }}
}}
"""


def load_nft(pod: Netns) -> None:
    pod.inside(lambda: subprocess.run(["nft", "-f", "-"], input=NFT_RULES, text=True, check=True))


def load_iptables(pod: Netns) -> None:
    pod.run("iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", str(PORT), "-j", "REDIRECT",
            "--to-ports", str(SIDECAR_PORT))  # fmt: skip
    pod.run("iptables", "-t", "nat", "-A", "OUTPUT", "-s", SIDECAR_IP, "-o", "lo", "-j", "RETURN")
    pod.run("iptables", "-t", "nat", "-A", "OUTPUT", "-o", "lo", "-j", "RETURN")


@pytest.fixture(params=[load_nft, load_iptables], ids=["nft", "iptables"])
def load_rules(request: pytest.FixtureRequest) -> Callable[[Netns], None]:
    load: Callable[[Netns], None] = request.param
    need(load.__name__.removeprefix("load_"))
    return load


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        original = Original(hosts.pod, "0.0.0.0", PORT)
        with sidecar(hosts.pod):
            yield hosts
        original.close()


@contextlib.contextmanager
def sidecar(pod: Netns) -> Iterator[None]:
    """Run a proxy that says "sidecar", then passes bytes on to the application, at the pod's address."""
    listener = pod.listen("0.0.0.0", SIDECAR_PORT)

    def connect() -> socket.socket:
        app = socket.socket()
        app.bind((SIDECAR_IP, 0))
        app.settimeout(5)
        app.connect((POD_IPV4, PORT))
        return app

    def copy(source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), pod.inside(connect) as app:
            client.sendall(b"sidecar\n")
            back = threading.Thread(target=copy, args=[app, client])
            back.start()
            copy(client, app)
            back.join()

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[client], daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def lines_for(client: Netns) -> tuple[str, str]:
    with client.connect(POD_IPV4, PORT) as sock, sock.makefile("r") as file:
        return file.readline().strip(), file.readline().strip()


@pytest.mark.parametrize("technique", TECHNIQUES)
@pytest.mark.parametrize("first", ["mesh", "steal"])
def test_sidecar_keeps_its_leg_and_we_get_the_applications(
    hosts: Hosts, technique: str, first: str, load_rules: Callable[[Netns], None]
) -> None:
    if first == "mesh":
        load_rules(hosts.pod)
        assert lines_for(hosts.client) == ("sidecar", "original")
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        if first == "steal":
            with hosts.client.connect(POD_IPV4, PORT) as sock:
                assert sock.recv(100).decode() == f"stolen {POD_IPV4} {PORT} {CLIENT_IPV4}\n"
            load_rules(hosts.pod)
        assert lines_for(hosts.client) == ("sidecar", f"stolen {POD_IPV4} {PORT} {SIDECAR_IP}")
        holder.tell("mode pass")
        assert lines_for(hosts.client) == ("sidecar", "original")
        holder.tell(f"release {PORT}")
        assert lines_for(hosts.client) == ("sidecar", "original")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_address_that_called_before_the_steal_is_stolen_as_well(
    hosts: Hosts, technique: str, load_rules: Callable[[Netns], None]
) -> None:
    """Connection tracking, which the mesh's rules began, remembers the client's port."""
    load_rules(hosts.pod)

    def call(port: int) -> tuple[str, str]:
        sock = hosts.client.inside(socket.socket)
        with sock, sock.makefile("r") as file:
            sock.settimeout(5)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((CLIENT_IPV4, port))
            sock.connect((POD_IPV4, PORT))
            return file.readline().strip(), file.readline().strip()

    ports = range(31000, 31005)
    for port in ports:
        assert call(port) == ("sidecar", "original")
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        for port in ports:
            assert call(port) == ("sidecar", f"stolen {POD_IPV4} {PORT} {SIDECAR_IP}")
    for port in ports:
        assert call(port) == ("sidecar", "original")
