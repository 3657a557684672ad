"""Both ways to divert connections, by the same tests: whom a client reaches, wherever the original listens."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from tests.netns.redirects import Holder, holding, left_behind
from tests.netns.traffic import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    POD_IPV4,
    POD_IPV6,
    Hosts,
    Netns,
    Original,
    close_with_reset,
    two_hosts,
    wait_until,
    who_serves,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT, OTHER_PORT = 8080, 8081
LET_GO_LIMIT_S = 2.5
"""2 s, and half a second for a busy machine."""
SHORT_CALL_S = 0.3
SHORT_CONNECTIONS = 2000

TECHNIQUES = ["sk_lookup", "nftables"]
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
        return next(str(IPv6Address(bytes.fromhex(words[0]))) for words in lines if words[0].startswith("fe80"))

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


def test_killed_holder_leaves_nothing(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        assert left_behind(hosts.pod) > 0
        assert who_serves(hosts.client, POD_IPV4, PORT).startswith("stolen")
        holder.process.kill()
        took = wait_until(lambda: who_serves(hosts.client, POD_IPV4, PORT, SHORT_CALL_S) == "original", "served again")
        assert took < 1
        wait_until(lambda: left_behind(hosts.pod) == 0, "nothing is left")


def test_stopped_holder_lets_go_and_takes_again(hosts: Hosts, technique: str) -> None:
    def serves() -> str:
        return who_serves(hosts.client, POD_IPV4, PORT, SHORT_CALL_S)

    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        assert serves().startswith("stolen")
        for _ in range(2):
            holder.process.send_signal(signal.SIGSTOP)
            assert wait_until(lambda: serves() == "original", "the original serves") < LET_GO_LIMIT_S
            holder.process.send_signal(signal.SIGCONT)
            wait_until(lambda: serves().startswith("stolen"), "the holder takes the port again", LET_GO_LIMIT_S)


def test_nothing_is_lost_between_two_beats(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        end = time.monotonic() + 3
        outcomes = set()
        while time.monotonic() < end:
            outcomes.add(who_serves(hosts.client, POD_IPV4, PORT))
        assert outcomes == {f"stolen {POD_IPV4} {PORT} {CLIENT_IPV4}"}


def test_rest_and_beat(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        for _ in range(2):
            holder.tell("rest")
            assert who_serves(hosts.client, POD_IPV4, PORT) == "original"
            holder.tell("beat")
            assert who_serves(hosts.client, POD_IPV4, PORT).startswith("stolen")


def test_paused_port_is_the_originals_and_resumed_ours(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        holder.tell(f"steal {OTHER_PORT}")
        for _ in range(2):
            holder.tell(f"pause {PORT}")
            holder.tell(f"pause {PORT}")
            assert who_serves(hosts.client, POD_IPV4, PORT) == "original"
            assert who_serves(hosts.client, POD_IPV4, OTHER_PORT).startswith("stolen")
            holder.tell(f"resume {PORT}")
            holder.tell(f"resume {PORT}")
            assert who_serves(hosts.client, POD_IPV4, PORT).startswith("stolen")
        holder.tell(f"pause {PORT}")
        holder.tell(f"release {PORT}")
        holder.tell(f"resume {PORT}")
        assert who_serves(hosts.client, POD_IPV4, PORT) == "original"


def test_port_is_released_and_stolen_again(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        for _ in range(3):
            holder.tell(f"steal {PORT}")
            assert who_serves(hosts.client, POD_IPV6, PORT).startswith("stolen")
            holder.tell(f"release {PORT}")
            assert who_serves(hosts.client, POD_IPV6, PORT) == "original"
        holder.tell(f"steal {PORT}")
        with pytest.raises(AssertionError, match="stolen already"):
            holder.tell(f"steal {PORT}")


def test_original_restarts_while_its_port_is_stolen(technique: str) -> None:
    with two_hosts() as hosts, holding(technique, hosts.pod) as holder:
        original = Original(hosts.pod, "::", PORT)
        holder.tell(f"steal {PORT}")
        with hosts.client.connect(POD_IPV4, PORT) as stolen:
            assert stolen.recv(100).startswith(b"stolen")
            original.close()
            original = Original(hosts.pod, "::", PORT)
        holder.tell(f"release {PORT}")
        assert who_serves(hosts.client, POD_IPV4, PORT) == "original"
        original.close()


@pytest.mark.parametrize("how", ["release", "close"])
def test_stolen_connections_outlive_the_steal(hosts: Hosts, technique: str, how: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        with hosts.client.connect(POD_IPV4, PORT) as stolen, stolen.makefile("rb") as lines:
            assert lines.readline().startswith(b"stolen")
            holder.tell(f"release {PORT}" if how == "release" else "close")
            assert who_serves(hosts.client, POD_IPV4, PORT) == "original"
            for _ in range(3):
                stolen.sendall(b"still there\n")
                assert lines.readline() == b"still there\n"


def test_closed_redirect_without_connections_leaves_nothing(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        assert left_behind(hosts.pod) > 0
        holder.tell("close")
        assert left_behind(hosts.pod) == 0


def test_connections_from_before_stay_with_the_original(hosts: Hosts, technique: str) -> None:
    with hosts.client.connect(POD_IPV4, PORT) as sock, sock.makefile("rb") as lines:
        assert lines.readline() == b"original\n"
        with holding(technique, hosts.pod) as holder:
            holder.tell(f"steal {PORT}")
            for _ in range(3):
                sock.sendall(b"hello\n")
                assert lines.readline() == b"hello\n"
        sock.sendall(b"goodbye\n")
        assert lines.readline() == b"goodbye\n"


@pytest.mark.parametrize("other", TECHNIQUES)
def test_two_redirects_in_one_network_namespace(hosts: Hosts, technique: str, other: str) -> None:
    with holding(technique, hosts.pod) as first:
        with holding(other, hosts.pod) as second:
            first.tell(f"steal {PORT}")
            second.tell("mode pass")
            second.tell(f"steal {OTHER_PORT}")
            assert who_serves(hosts.client, POD_IPV4, PORT).startswith("stolen")
            assert who_serves(hosts.client, POD_IPV4, OTHER_PORT).startswith("[Errno 111]")
            second.process.kill()
            wait_until(lambda: who_serves(hosts.client, POD_IPV4, OTHER_PORT) == "ECONNREFUSED", "nobody listens")
        assert who_serves(hosts.client, POD_IPV4, PORT).startswith("stolen")


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


@pytest.mark.parametrize("other", TECHNIQUES)
def test_port_stolen_twice_is_somebodys_as_long_as_somebody_is_there(hosts: Hosts, technique: str, other: str) -> None:
    with holding(technique, hosts.pod) as first, holding(other, hosts.pod) as second:
        first.tell(f"steal {PORT}")
        second.tell(f"steal {PORT}")
        for ip in (POD_IPV4, POD_IPV6):
            assert who_serves(hosts.client, ip, PORT).startswith("stolen")
        # What one of them passes on, the other does not take.
        first.tell("mode pass")
        second.tell("mode pass")
        if technique == other == "nftables":
            assert who_serves(hosts.client, POD_IPV4, PORT) == "original"
        second.tell("mode steal")
        first.process.kill()
        wait_until(lambda: who_serves(hosts.client, POD_IPV4, PORT, SHORT_CALL_S).startswith("stolen"), "one serves")
        second.process.kill()
        wait_until(lambda: who_serves(hosts.client, POD_IPV4, PORT, SHORT_CALL_S) == "original", "the original serves")


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


def test_established_connections_are_flushed_and_come_again(hosts: Hosts, technique: str) -> None:
    other = Original(hosts.pod, "::", OTHER_PORT)
    with holding(technique, hosts.pod) as holder:
        before = [hosts.client.connect(ip, PORT) for ip in (POD_IPV4, POD_IPV6)]
        before += [hosts.pod.connect(ip, PORT) for ip in ("127.0.0.1", "::1")]
        elsewhere = hosts.client.connect(POD_IPV4, OTHER_PORT)
        for sock in [*before, elsewhere]:
            assert sock.recv(100) == b"original\n"
        holder.tell(f"steal {PORT}")
        with hosts.client.connect(POD_IPV4, PORT) as stolen, stolen.makefile("rb") as lines:
            assert lines.readline().startswith(b"stolen")
            holder.tell("mode pass")
            with hosts.client.connect(POD_IPV4, PORT) as passed:
                assert passed.recv(100) == b"original\n"
                assert holder.tell(f"flush {PORT}") == str(len(before))
                for sock in before:
                    with pytest.raises(ConnectionResetError):
                        sock.recv(100)
                    sock.close()
                for sock in (stolen, passed, elsewhere):
                    sock.sendall(b"alive\n")
                assert lines.readline() == b"alive\n"
                assert passed.recv(100) == b"alive\n"
                assert elsewhere.recv(100) == b"alive\n"
                assert holder.tell(f"flush {PORT}") == "0"
    elsewhere.close()
    other.close()


def test_client_that_is_gone_before_accept_harms_nothing(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        holder.process.send_signal(signal.SIGSTOP)
        close_with_reset(hosts.client.connect(POD_IPV4, PORT))
        holder.process.send_signal(signal.SIGCONT)
        wait_until(lambda: who_serves(hosts.client, POD_IPV4, PORT, SHORT_CALL_S).startswith("stolen"), "it serves on")
