"""Stealing beside nginx that stands before the application as a sidecar, and keeps its connections to it."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.netns.redirects import TECHNIQUES, holding
from tests.netns.test_redirect_sidecar import PORT, SIDECAR_IP, SIDECAR_PORT, load_iptables, load_nft
from tests.netns.traffic import POD_IPV4, Hosts, Netns, two_hosts, wait_until, who_serves
from tests.packages import need

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and BPF need root")

CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    upstream app {{ server {app}; keepalive 8; }}
    server {{
        listen {port};
        location / {{
            proxy_pass http://app; proxy_bind {source};
            proxy_http_version 1.1; proxy_set_header Connection "";
            add_header X-Sidecar nginx;
        }}
    }}
}}
"""


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # the library's name
        self.send_response(200)
        self.send_header("Content-Length", "9")
        self.end_headers()
        self.wfile.write(b"original\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(params=[load_nft, load_iptables], ids=["nft", "iptables"])
def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hosts]:
    """A pod with an application on its own address, nginx, and rules that send callers to nginx."""
    load: Callable[[Netns], None] = request.param
    need(load.__name__.removeprefix("load_"))
    with two_hosts() as hosts, contextlib.ExitStack() as undo:
        load(hosts.pod)
        server = undo.enter_context(hosts.pod.inside(lambda: ThreadingHTTPServer((POD_IPV4, PORT), App)))
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        undo.callback(thread.join)
        undo.callback(server.shutdown)
        config = tmp_path / "nginx.conf"
        app = f"{POD_IPV4}:{PORT}"
        config.write_text(CONFIG.format(folder=tmp_path, app=app, port=SIDECAR_PORT, source=SIDECAR_IP))
        command = [need("nginx"), "-c", str(config), "-e", "stderr"]
        process = undo.enter_context(hosts.pod.inside(lambda: subprocess.Popen(command)))
        undo.callback(process.terminate)
        refused = "ECONNREFUSED"
        wait_until(lambda: who_serves(hosts.pod, "127.0.0.1", SIDECAR_PORT, 0.1) != refused, "nginx listens")
        yield hosts


def get(client: Netns) -> str:
    """Return what a request that comes through nginx is answered with."""
    connection = HTTPConnection(POD_IPV4, PORT)
    connection.sock = client.connect(POD_IPV4, PORT)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.headers["X-Sidecar"] == "nginx"
        return answer.read().decode().strip()


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_connections_that_nginx_keeps_are_moved(hosts: Hosts, technique: str) -> None:
    assert get(hosts.client) == "original"
    with holding(technique, hosts.pod) as holder:
        holder.tell("mode http")
        holder.tell(f"steal {PORT}")
        assert get(hosts.client) == "original", "nginx kept no connection"
        assert holder.tell(f"flush {PORT}") == "1"
        stolen = f"stolen {POD_IPV4} {PORT} {SIDECAR_IP}"
        assert [get(hosts.client) for _ in range(3)] == [stolen] * 3
    wait_until(lambda: get(hosts.client) == "original", "the original serves again", 1)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_requests_are_passed_on_behind_nginx(hosts: Hosts, technique: str) -> None:
    with holding(technique, hosts.pod) as holder:
        holder.tell("mode pass")
        holder.tell(f"steal {PORT}")
        assert [get(hosts.client) for _ in range(3)] == ["original"] * 3
        assert holder.tell(f"flush {PORT}") == "0"
