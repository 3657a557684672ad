"""Which redirect is chosen, by what the process may do, and what it says when there is none."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.netns.redirects import ROOT, Joined, holding, left_behind
from tests.netns.traffic import POD_IPV4, Hosts, Netns, Original, two_hosts, wait_until, who_serves
from tests.packages import need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

PORT = 8080
ORDINARY_USER = ["unshare", "--user", "--map-root-user", "--net"]
"""Holds all rights over its own namespaces, and none over the machine's, as any user who makes some."""

ASK = (
    "import sys; from inpod.agent.incoming.redirect.choose import choose\n"
    "try: print(choose(sys.argv[1]).name)\n"
    "except OSError as error: print(error.strerror)"
)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with two_hosts() as hosts:
        original = Original(hosts.pod, "::", PORT)
        yield hosts
        original.close()


def without(netns: Netns, *capabilities: str) -> list[str]:
    """Return a command that runs another one in `netns` without these rights."""
    less = ",".join(f"-{name}" for name in capabilities)
    return ["nsenter", f"--net={netns.path}", "setpriv", f"--bounding-set={less}", f"--inh-caps={less}"]


def chosen(before: list[str], force: str) -> str:
    env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT / "src")}
    command = [*before, sys.executable, "-c", ASK, force]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def test_ordinary_user_steals_in_a_user_namespace() -> None:
    with holding("auto", before=ORDINARY_USER) as holder:
        assert holder.name == "nftables"
        netns = Joined(holder.process.pid)
        try:
            netns.run("ip", "link", "set", "lo", "up")
            original = Original(netns, "::", PORT)
            holder.tell(f"steal {PORT}")
            for ip in ("127.0.0.1", "::1"):
                assert who_serves(netns, ip, PORT) == f"stolen {ip} {PORT} {ip}"
            holder.tell("mode pass")
            for ip in ("127.0.0.1", "::1"):
                assert who_serves(netns, ip, PORT) == "original"
            with netns.connect("127.0.0.1", PORT) as sock:
                assert sock.recv(100) == b"original\n"
                holder.tell(f"release {PORT}")
                holder.tell(f"steal {PORT}")
                assert holder.tell(f"flush {PORT}") == "0", "the passed connection was flushed"
            holder.process.kill()
            wait_until(lambda: who_serves(netns, "127.0.0.1", PORT, 0.3) == "original", "the original serves", 1)
            wait_until(lambda: left_behind(netns) == 0, "nothing is left")
            original.close()
        finally:
            netns.close()


def test_best_technique_that_is_allowed_is_chosen(hosts: Hosts) -> None:
    nothing_less = ["nsenter", f"--net={hosts.pod.path}"]
    assert chosen(nothing_less, "auto") == "BPF sk_lookup"
    assert chosen(nothing_less, "nftables") == "nftables"
    no_bpf = without(hosts.pod, "sys_admin", "bpf")
    assert chosen(no_bpf, "auto") == "nftables"
    assert "CAP_BPF" in chosen(no_bpf, "sk_lookup")
    assert left_behind(hosts.pod) == 0


def test_refusal_names_the_reason_of_each(hosts: Hosts) -> None:
    nothing = without(hosts.pod, "sys_admin", "bpf", "net_admin")
    said = chosen(nothing, "auto")
    assert "CAP_BPF" in said
    assert "stealing by nftables was refused with EPERM: the agent lacks CAP_NET_ADMIN" in said
    assert "CAP_BPF" not in chosen(nothing, "nftables")
    assert "no redirect 'iptables'" in chosen(nothing, "iptables")


def test_flushing_without_the_right_says_so(hosts: Hosts) -> None:
    ask = (
        "from inpod.agent.incoming.flush import flush\n"
        f"try: print(flush({PORT}))\n"
        "except OSError as error: print(error.strerror)"
    )
    command = [*without(hosts.pod, "net_admin"), sys.executable, "-c", ask]
    env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT / "src")}

    def flush() -> str:
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    assert flush() == "0"
    with hosts.client.connect(POD_IPV4, PORT) as sock:
        assert sock.recv(100) == b"original\n"
        assert flush() == "existing connections cannot be moved: the agent lacks CAP_NET_ADMIN"
        sock.sendall(b"alive")
        assert sock.recv(100) == b"alive"


def test_nobody_else_changes_our_table(hosts: Hosts) -> None:
    """Such as a kube-proxy or a service mesh that loads its rules anew."""
    need("nft")
    with holding("nftables", hosts.pod) as holder:
        holder.tell(f"steal {PORT}")
        listing = hosts.pod.inside(
            lambda: subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
        )
        assert "flags owner" in listing
        table = listing.split()[2]
        hosts.pod.run("nft", "flush", "ruleset")
        with pytest.raises(subprocess.CalledProcessError):
            hosts.pod.run("nft", "delete", "table", "inet", table)
        assert who_serves(hosts.client, POD_IPV4, PORT).startswith("stolen")
