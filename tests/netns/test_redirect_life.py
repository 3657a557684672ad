"""Both ways to divert connections, by the same tests: what happens when their process lives, stops and dies."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.netns.redirects import TECHNIQUES, holding, left_behind
from tests.netns.traffic import (
    CLIENT_IPV4,
    LET_GO_LIMIT_S,
    POD_IPV4,
    POD_IPV6,
    Hosts,
    Original,
    close_with_reset,
    two_hosts,
    wait_until,
    who_serves,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

PORT, OTHER_PORT = 8080, 8081
SHORT_CALL_S = 0.3


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
            with holding(technique, hosts.pod):
                pass  # by now the kernel has also done what it puts off when rules go
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


@pytest.mark.parametrize("other", TECHNIQUES)
def test_other_agents_connections_are_not_flushed(hosts: Hosts, technique: str, other: str) -> None:
    with holding(technique, hosts.pod) as first, holding(other, hosts.pod) as second:
        first.tell(f"steal {PORT}")
        stolen = hosts.client.connect(POD_IPV4, PORT)
        assert stolen.recv(100).startswith(b"stolen")
        first.tell("mode pass")
        passed = [hosts.client.connect(ip, PORT) for ip in (POD_IPV4, POD_IPV6)]
        for sock in passed:
            assert sock.recv(100) == b"original\n"
        first.tell(f"release {PORT}")
        second.tell(f"steal {PORT}")
        assert second.tell(f"flush {PORT}") == "0"
        for sock in (stolen, *passed):
            sock.sendall(b"alive")
            assert sock.recv(100) == b"alive"
            sock.close()
