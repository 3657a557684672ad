"""Beside a real Envoy with Istio's rules: whole sessions steal, filter and mirror what it passes on to the application."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from tests.netns.conftest import Pod
from tests.netns.envoy import Upstream, sidecar
from tests.netns.redirects import TECHNIQUES
from tests.netns.test_filter import PORT, developer, event, steal
from tests.netns.traffic import POD_IPV4, Hosts, two_hosts, wait_until
from tests.packages import need
from tests.processes import next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

SERVER = """
import asyncio, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config
name, port = sys.argv[1], sys.argv[2]

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    size = 0
    while (message := await receive()).get("more_body"):
        size += len(message["body"])
    size += len(message["body"])
    said = f"{name} {scope['http_version']} {scope['path']} {size}"
    if scope["path"] != "/ready":
        print(said, flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})

config = Config()
config.bind = ["0.0.0.0:" + port]
config.errorlog = None
config.keep_alive_timeout = 600
asyncio.run(serve(app, config))
"""

CLIENT = """
import json, sys, httpx
url, who, *protocols = sys.argv[1:]
for protocol in protocols:
    with httpx.Client(http1=protocol == "1.1", http2=protocol == "2", base_url=url, timeout=10) as client:
        addresses = set()
        for path, user in json.loads(who).items():
            response = client.post(path, content=b"x" * 10000, headers={"x-user": user})
            assert response.headers["server"] == "envoy", response.headers
            addresses.add(response.extensions["network_stream"].get_extra_info("client_addr"))
            print(response.text.strip() if response.status_code == 200 else response)
    assert len(addresses) == 1, addresses
"""

CLIENT_LIMIT_S = 30.0

Protocol = Literal["1.1", "2"]

BOTH: Sequence[Protocol] = ("1.1", "2")

WHO = {"/0": "bob", "/1": "alice", "/2": "", "/3": "alice"}


@dataclass
class Application:
    """A pod with a sidecar, and its own service.

    Attributes:
        process: The service's.
    """

    hosts: Hosts
    process: "subprocess.Popen[str]"

    @property
    def pod(self) -> Pod:
        return Pod(self.process.pid)

    def ask(self, *protocols: Protocol) -> list[str]:
        """Return the answers to requests of several users, which Envoy passes on: a connection from outside for each protocol."""
        command = [sys.executable, "-c", CLIENT, f"http://{POD_IPV4}:{PORT}", json.dumps(WHO), *protocols]
        run = partial(subprocess.run, command, capture_output=True, text=True, timeout=CLIENT_LIMIT_S, check=True)
        return self.hosts.client.inside(run).stdout.splitlines()


def answers(protocols: Sequence[Protocol], *names: str) -> list[str]:
    return [f"{name} {protocol} {path} 10000" for protocol in protocols for name, path in zip(names, WHO, strict=True)]


@pytest.fixture(params=["pod address", "loopback"])
def application(request: pytest.FixtureRequest) -> Iterator[Application]:
    upstream: Upstream = request.param
    need("iptables")
    with two_hosts() as hosts:
        command = [sys.executable, "-c", SERVER, "original", str(PORT)]
        process = hosts.pod.inside(lambda: subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        with process:
            try:
                wait_until(lambda: is_listening(hosts), "the service listens")
                with sidecar(hosts.pod, PORT, upstream):
                    yield Application(hosts, process)
            finally:
                process.terminate()


def is_listening(hosts: Hosts) -> bool:
    try:
        hosts.pod.connect("127.0.0.1", PORT).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("redirect", TECHNIQUES)
def test_requests_go_where_the_filter_says(application: Application, tmp_path: Path, redirect: str) -> None:
    # Envoy keeps this connection to the application, and would use it again.
    assert application.ask(*BOTH) == answers(BOTH, *["original"] * 4)
    with developer(
        application.pod, tmp_path, "alice", steal(header_filter="^x-user: alice$"), server=SERVER, redirect=redirect
    ) as alice:
        assert application.ask(*BOTH, *BOTH) == answers([*BOTH, *BOTH], "original", "alice", "original", "alice")
        while not event(alice, "PortTraffic")["moved"]:
            pass
    assert application.ask(*BOTH) == answers(BOTH, *["original"] * 4)


def test_all_is_stolen_without_a_filter(application: Application, tmp_path: Path) -> None:
    assert application.ask("1.1") == answers(["1.1"], *["original"] * 4)
    with developer(application.pod, tmp_path, "alice", {"mode": "steal"}, server=SERVER):
        assert application.ask(*BOTH) == answers(BOTH, *["alice"] * 4)


def test_each_request_is_copied_once(application: Application, tmp_path: Path) -> None:
    incoming: dict[str, object] = {"mode": "mirror", "http_filter": {"header_filter": "^x-user: alice$"}}
    with developer(application.pod, tmp_path, "alice", incoming, server=SERVER) as alice:
        assert application.ask(*BOTH, *BOTH) == answers([*BOTH, *BOTH], *["original"] * 4)
        copied = [next_line(alice.stdout) for _ in range(8)]
        assert sorted(copied) == sorted(
            f"alice {protocol} {path} 10000" for protocol in BOTH for path in ("/1", "/3") * 2
        )
