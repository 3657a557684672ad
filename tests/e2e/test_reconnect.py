"""Sessions in a real cluster whose way to the agent breaks: what goes on, what is told, and what is left."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from inpod.errors import ExitCode
from tests.e2e.cluster import PORT, Namespace, until
from tests.e2e.gate import gate
from tests.e2e.kube import agents, inpod_exec, wait_until_nothing_is_left
from tests.netns.test_filter import event, warning
from tests.processes import LIMIT_S, end, next_line

OUTAGE_S = 10.0

PROGRAM = """
import http.server, os, sys, urllib.request
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        orders = urllib.request.urlopen("http://orders/x", timeout=10).read().decode().split()[0]
        print(self.path, "orders", orders, os.getpid(), flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"program")
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
print(os.getpid(), flush=True)
server.serve_forever()
"""
"""Calls a service that only the pod reaches for each request that comes in."""

ASK = """
import sys, urllib.request
print(urllib.request.urlopen(f"http://{sys.argv[1]}:{sys.argv[2]}{sys.argv[3]}", timeout=20).read().decode().split()[0])
"""


@contextmanager
def session(
    here: Namespace, mode: str, *more: str, kubeconfig: str | None = None
) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A session of pod `web` whose port is subscribed, and the process id of its program."""
    steal = ["--steal"] if mode == "steal" else []
    options = [*steal, *more, "--progress", "json"]
    program = [sys.executable, "-c", PROGRAM, str(PORT)]
    with inpod_exec(here, "pod/web", options, program, kubeconfig) as process:
        try:
            event(process, "PortSubscribed")
            yield process, next_line(process.stdout)
        finally:
            end(process)


def ask(here: Namespace, path: str) -> str:
    """Return who answers another pod that asks pod `web`, "" when the connection is reset."""
    address = str(here.pod_of("web")["status"]["podIP"])
    return here.try_inside("client", ASK, address, str(PORT), path)[1]


def check(here: Namespace, mode: str, process: "subprocess.Popen[str]", program: str, path: str) -> None:
    """Traffic comes to the same program, and its own call goes out of the pod."""
    assert ask(here, path) == ("program" if mode == "steal" else "original")
    assert next_line(process.stdout) == f"{path} orders original {program}"


@pytest.mark.parametrize("mode", ["mirror", "steal"])
def test_traffic_comes_and_goes_again_after_a_broken_connection(targets: Namespace, mode: str) -> None:
    with session(targets, mode) as (process, program):
        check(targets, mode, process, program, "/before")
        (agent,) = agents(targets)
        for path in ("/once", "/twice"):
            cut_off(targets, process)
            event(process, "AgentLost")
            event(process, "Reconnected")
            check(targets, mode, process, program, path)
        assert agents(targets) == [agent]
    wait_until_nothing_is_left(targets)
    assert ask(targets, "/after") == "original"


def cut_off(here: Namespace, process: "subprocess.Popen[str]") -> None:
    """Do as a network that goes away: both ends of its connections are reset, and nothing else on this machine."""
    server = here.cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    port = urlsplit(server).port or 443
    cut = f"( {' or '.join(f'src = :{local}' for local in ports_of(process.pid, port))} )"
    subprocess.run(["ss", "-K", "-t", f"dport = :{port} and {cut}"], check=True, stdout=subprocess.DEVNULL)


def ports_of(pid: int, remote: int) -> list[int]:
    """Return the local ports of a process's connections to a remote port."""
    said = subprocess.run(["ss", "-Htnp", f"dport = :{remote}"], capture_output=True, text=True, check=True).stdout
    mine = [line.split() for line in said.splitlines() if f"pid={pid}," in line]
    assert mine
    return [int(fields[3].rpartition(":")[2]) for fields in mine]


@pytest.mark.parametrize("mode", ["mirror", "steal"])
def test_server_that_refuses_for_a_while_is_reached_again(targets: Namespace, mode: str, tmp_path: Path) -> None:
    with (
        gate(targets.cluster, tmp_path) as way,
        session(targets, mode, kubeconfig=way.kubeconfig) as (process, program),
    ):
        check(targets, mode, process, program, "/before")
        way.is_refusing = True
        way.cut()
        event(process, "AgentLost")
        if mode == "steal":
            # The agent hears of it later than we do, and resets what comes until then.
            until("the original serves", lambda: ask(targets, "/meanwhile") == "original")
        assert ask(targets, "/meanwhile") == "original"
        # They come a second apart.
        until("attempts", lambda: way.refused >= OUTAGE_S, within_s=3 * OUTAGE_S)
        way.is_refusing = False
        event(process, "Reconnected")
        check(targets, mode, process, program, "/again")
        end(process)
        wait_until_nothing_is_left(targets)


def test_silence_lends_the_port_to_the_original(targets: Namespace, tmp_path: Path) -> None:
    with (
        gate(targets.cluster, tmp_path) as way,
        session(targets, "steal", kubeconfig=way.kubeconfig) as (process, program),
    ):
        check(targets, "steal", process, program, "/before")
        silent_until = time.monotonic() + OUTAGE_S
        way.is_open.clear()
        until("the original serves", lambda: ask(targets, "/meanwhile") == "original")
        while time.monotonic() < silent_until:
            assert ask(targets, "/meanwhile") == "original"
            time.sleep(0.2)
        way.is_open.set()
        until("the program serves", lambda: ask(targets, "/again") == "program")
        assert next_line(process.stdout) == f"/again orders original {program}"
        end(process)
        wait_until_nothing_is_left(targets)


def test_long_silence_is_a_lost_link(targets: Namespace, tmp_path: Path) -> None:
    with (
        gate(targets.cluster, tmp_path) as way,
        session(targets, "steal", kubeconfig=way.kubeconfig) as (process, program),
    ):
        way.is_open.clear()
        event(process, "AgentLost")
        way.is_open.set()
        event(process, "Reconnected")
        check(targets, "steal", process, program, "/again")
        end(process)
        wait_until_nothing_is_left(targets)


def test_agent_whose_pod_is_deleted_ends_the_program(targets: Namespace) -> None:
    with session(targets, "steal") as (process, _):
        (agent,) = agents(targets)
        targets.kubectl("delete", "pod", agent, "--grace-period=0", "--force")
        event(process, "AgentLost")
        last = list(iter(lambda: next_line(process.stderr), ""))[-1]
        assert "The agent of pod web, container web is lost" in last
        assert "he program was ended." in last
        assert process.wait(LIMIT_S) == ExitCode.AGENT_LOST
    wait_until_nothing_is_left(targets)
    assert ask(targets, "/after") == "original"


def test_job_that_somebody_deletes_is_told(targets: Namespace) -> None:
    with session(targets, "mirror") as (process, _):
        (job,) = targets.jobs()
        # Its pod stays: the program goes on until the cluster ends that, too.
        targets.kubectl("delete", "job", job, "--cascade=orphan")
        while job not in (said := warning(process)):
            pass
        assert said.startswith(f"Job {job} of namespace '{targets.name}' was deleted")
