"""Both ways to divert connections, by the same tests: whom a client reaches, wherever the original listens."""

import os
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from tests.netns.redirects import TECHNIQUES, Holder, holding
from tests.netns.traffic import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    POD_IPV4,
    POD_IPV6,
    Hosts,
    Netns,
    Original,
    two_hosts,
    wait_until,
    who_serves,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT, OTHER_PORT = 8080, 8081
SHORT_CONNECTIONS = 2000

ORIGINALS = ["0.0.0.0", "127.0.0.1", POD_IPV4, "::", "::1", POD_IPV6]
CALLED = {
    "0.0.0.0": [POD_IPV4, "127.0.0.1"],
    "127.0.0.1": ["127.0.0.1"],
    POD_IPV4: [POD_IPV4],
    "::": [POD_IPV6, "::1", POD_IPV4, "127.0.0.1"],
    "::1": ["::1"],
    POD_IPV6: [POD_IPV6],
}
"""Where an original can be reached, by where it listens."""


@pytest.fixture(scope="module")
def shared_hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        yield hosts


@pytest.fixture(scope="module", params=TECHNIQUES)
def shared_holder(request: pytest.FixtureRequest, shared_hosts: Hosts) -> Iterator[Holder]:
    """A holder of no port."""
    with holding(request.param, shared_hosts.pod) as holder:
        yield holder


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        original = Original(hosts.pod, "::", PORT)
        yield hosts
        original.close()


@pytest.fixture(params=TECHNIQUES)
def technique(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def from_where(hosts: Hosts, way: str, ip: str) -> tuple[Netns, str] | None:
    """Return who calls, and its address; None when that way does not lead to `ip`."""
    if way == "loopback":
        return hosts.pod, ip
    if ip in (POD_IPV4, POD_IPV6):
        return hosts.client, CLIENT_IPV6 if ":" in ip else CLIENT_IPV4
    return None


@pytest.mark.parametrize("way", ["veth", "loopback"])
@pytest.mark.parametrize("listens", ORIGINALS)
def test_stolen_wherever_the_original_listens(
    shared_hosts: Hosts, shared_holder: Holder, listens: str, way: str
) -> None:
    hosts, holder = shared_hosts, shared_holder
    original = Original(hosts.pod, listens, PORT)
    holder.tell("mode steal")
    holder.tell(f"steal {PORT}")
    try:
        # Also where only we listen: the pod's address, of an original on loopback.
        for ip in {*CALLED[listens], POD_IPV4, POD_IPV6}:
            if (caller := from_where(hosts, way, ip)) is not None:
                netns, peer = caller
                assert who_serves(netns, ip, PORT) == f"stolen {ip} {PORT} {peer}"
    finally:
        holder.tell(f"release {PORT}")
    for ip in CALLED[listens]:
        if (caller := from_where(hosts, way, ip)) is not None:
            assert who_serves(caller[0], ip, PORT) == "original"
    original.close()


@pytest.mark.parametrize("way", ["veth", "loopback"])
@pytest.mark.parametrize("listens", ORIGINALS)
def test_passed_on_wherever_the_original_listens(
    shared_hosts: Hosts, shared_holder: Holder, listens: str, way: str
) -> None:
    hosts, holder = shared_hosts, shared_holder
    original = Original(hosts.pod, listens, PORT)
    holder.tell("mode pass")
    holder.tell(f"steal {PORT}")
    try:
        for ip in {*CALLED[listens], POD_IPV4, POD_IPV6}:
            if (caller := from_where(hosts, way, ip)) is not None:
                served = who_serves(caller[0], ip, PORT)
                expected = "original" if ip in CALLED[listens] else "[Errno 111]"
                assert served.startswith(expected), (ip, served)
    finally:
        holder.tell(f"release {PORT}")
        original.close()


def test_original_sees_the_address_that_was_called_as_peer(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        listener = hosts.pod.listen("::", OTHER_PORT)
        holder.tell("mode pass")
        holder.tell(f"steal {OTHER_PORT}")
        for ip in (POD_IPV4, POD_IPV6):
            with hosts.client.connect(ip, OTHER_PORT):
                accepted, peer = listener.accept()
                accepted.close()
                assert peer[0].removeprefix("::ffff:") == ip
        listener.close()


def test_link_local_address(hosts: Hosts, technique: str) -> None:
    def address() -> str:
        lines = (line.split() for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines())
        found = (str(IPv6Address(bytes.fromhex(words[0]))) for words in lines if words[0].startswith("fe80"))
        return next(found, "")

    wait_until(lambda: hosts.pod.inside(address), "the device has its address")
    ip = hosts.pod.inside(address)

    def serves() -> str:
        index = hosts.client.inside(lambda: socket.if_nametoindex("eth0"))
        sock = hosts.client.inside(lambda: socket.socket(socket.AF_INET6))
        with sock, sock.makefile("r") as file:
            sock.settimeout(5)
            sock.connect((ip, PORT, 0, index))
            return file.readline().strip()

    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        assert serves().startswith(f"stolen {ip} {PORT} ")
        holder.tell("mode pass")
        assert serves() == "original"


@pytest.mark.parametrize("who_ends_first", ["client", "original"])
def test_many_short_connections_find_ports(technique: str, who_ends_first: str) -> None:
    """More than the network namespace has ports for a minute."""
    with two_hosts() as hosts, holding(technique, hosts.pod) as holder:
        hosts.pod.run("sysctl", "-q", "net.ipv4.ip_local_port_range=40000 40999")
        listener = hosts.pod.listen("::", PORT, backlog=1000)

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    sock.sendall(b"original\n")
                    if who_ends_first == "client":
                        sock.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        holder.tell("mode pass")
        holder.tell(f"steal {PORT}")
        try:
            for _ in range(SHORT_CONNECTIONS):
                assert who_serves(hosts.client, POD_IPV4, PORT) == "original"
            # Nor do the pod's own processes find all ports taken.
            holder.tell(f"release {PORT}")
            assert who_serves(hosts.pod, POD_IPV4, PORT) == "original"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            listener.close()


def test_syn_cookies(hosts: Hosts, technique: str) -> None:
    """Under a flood the kernel keeps nothing of a SYN, and chooses the listener when the handshake ends."""
    hosts.pod.run("sysctl", "-q", "net.ipv4.tcp_syncookies=2")
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        for ip in (POD_IPV4, POD_IPV6):
            assert who_serves(hosts.client, ip, PORT).startswith("stolen")
        holder.tell("mode pass")
        for ip in (POD_IPV4, POD_IPV6):
            assert who_serves(hosts.client, ip, PORT) == "original"


def test_only_the_named_addresses_are_diverted(hosts: Hosts, technique: str) -> None:
    hosts.pod.run("ip", "addr", "add", "10.88.0.7/24", "dev", "eth0")
    hosts.pod.run("ip", "addr", "add", "fd88::7/64", "dev", "eth0", "nodad")
    with holding(technique, hosts.pod, addresses=[POD_IPV4, POD_IPV6]) as holder:
        holder.tell(f"steal {PORT}")
        for netns in (hosts.client, hosts.pod):
            for ip in (POD_IPV4, POD_IPV6):
                assert who_serves(netns, ip, PORT).startswith("stolen")
            for ip in ("10.88.0.7", "fd88::7"):
                assert who_serves(netns, ip, PORT) == "original"
        assert who_serves(hosts.pod, "127.0.0.1", PORT) == "original"
