"""Resolvers that have their own ways: Netty's in Java, and libc's where this machine has daemons for names."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.languages import command
from tests.netns.name_daemons import KNOWN, unpacked
from tests.netns.netty import libraries
from tests.netns.session import ROOT, output_of
from tests.processes import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

JAVA = """
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.*;
import io.netty.resolver.ResolvedAddressTypes;
import io.netty.resolver.dns.*;

class Main {
    public static void main(String[] names) throws Exception {
        var group = new NioEventLoopGroup(1);
        var resolver = new DnsNameResolverBuilder(group.next())
            .datagramChannelStrategy(DnsNameResolverChannelStrategy.valueOf(names[0]))
            .channelType(NioDatagramChannel.class).socketChannelType(NioSocketChannel.class)
            .resolvedAddressTypes(ResolvedAddressTypes.IPV4_ONLY).build();
        for (int i = 1; i < names.length; i++) {
            try {
                var found = resolver.resolveAll(names[i]).get();
                var least = found.stream().map(address -> address.getHostAddress()).sorted().findFirst().get();
                System.out.println(names[i] + " " + found.size() + " " + least);
            } catch (java.util.concurrent.ExecutionException error) { System.out.println(names[i] + " none"); }
        }
        System.exit(0);
    }
}
"""

ASK = """
import socket, sys
for name in sys.argv[1:]:
    try: print(socket.gethostbyname(name))
    except OSError: print("none")
"""


@pytest.fixture(scope="module")
def netty(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return command("java", tmp_path_factory.mktemp("netty"), JAVA, libraries=libraries())


@pytest.mark.parametrize("sockets", ["ChannelPerResolver", "ChannelPerResolution"])
@pytest.mark.usefixtures("interceptor")
def test_netty_asks_the_pods_servers_with_the_pods_search_list_and_hosts(
    pod: Pod, netty: list[str], sockets: str
) -> None:
    """By datagrams with addresses, and by TCP where the answer is long."""
    names = ["web", "api", "a.b", "alias.test", "inhosts", "big.test", "nope"]
    found = output_of(f"pid/{pod.pid}", *netty, sockets, *names).splitlines()
    assert found == [
        "web 1 10.2.0.1",
        "api 1 10.2.0.2",
        "a.b 1 10.2.0.5",
        "alias.test 1 10.2.0.1",
        "inhosts 1 10.1.1.1",
        "big.test 100 10.3.0.0",
        "nope none",
    ]


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.parametrize(
    ("daemon", "nsswitch"),
    [("nscd", "files dns"), ("resolved", "resolve [!UNAVAIL=return] files dns")],
    ids=["nscd", "resolved"],
)
def test_names_are_the_pods_though_this_machine_has_a_daemon_for_them(
    pod: Pod, tmp_path: Path, interceptor: str, daemon: str, nsswitch: str
) -> None:
    machine = ["unshare", "--mount", "--net", sys.executable, "-m", "tests.netns.machine"]
    machine += ["--daemons", str(unpacked()), nsswitch]

    def ask(*, of_pod: bool) -> list[str]:
        config = tmp_path / "inpod.json"
        config.write_text(json.dumps({"feature": {"network": {"dns": of_pod}}, "interceptor": interceptor}))
        session = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "-f", str(config)]
        program = [sys.executable, "-c", ASK, f"only-{daemon}.test", "api", "inhosts"]
        done = subprocess.run(
            [*machine, *session, "--progress", "off", "--", *program],
            capture_output=True,
            text=True,
            timeout=4 * LIMIT_S,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    assert ask(of_pod=False)[0] == KNOWN[daemon], "the daemon serves this machine's programs"
    assert ask(of_pod=True) == ["none", "10.2.0.2", "10.1.1.1"]
