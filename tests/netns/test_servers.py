"""Servers that listen in one process and accept in others: real ones, whole sessions, stolen requests."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.session import in_network_of
from tests.netns.test_filter import PORT, answers, event, get, until_served
from tests.netns.test_filter import original as original  # the fixture
from tests.packages import need
from tests.processes import LIMIT_S, end

WSGI = """
import os
def app(environ, start):
    start("200 OK", [("Content-Type", "text/plain")])
    return [b"program %d" % os.getpid()]
"""

ASGI = """
import os
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"program %d" % os.getpid()})
"""

CLUSTER = """
const cluster = require("cluster"), http = require("http");
if (cluster.isPrimary) { cluster.fork(); cluster.fork(); }
else http.createServer((request, answer) => answer.end("program " + process.pid)).listen(8080);
"""

REUSE = """
import os, socket
def serve():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("0.0.0.0", 8080))
    sock.listen()
    while True:
        client, _ = sock.accept()
        client.recv(65536)
        body = b"program %d" % os.getpid()
        client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%b" % (len(body), body))
        client.close()
if os.fork():
    serve()
serve()
"""

NGINX = """
daemon off; master_process on; worker_processes 2; pid nginx.pid; error_log stderr; user root;
events {} http {
    access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    server { listen 8080; location / { return 200 "program $pid"; } }
}
"""
"""Its folders are below /tmp: those of Debian, where it writes too, would be made here and looked for in the pod."""

ASK = """
import sys, urllib.request
for _ in range(12):
    print(urllib.request.urlopen(f"http://10.77.0.1:{sys.argv[1]}/", timeout=20).read().decode())
"""
"""By a connection for each."""

SERVERS = {
    "gunicorn": [sys.executable, "-m", "gunicorn", "-w", "3", "-b", f"0.0.0.0:{PORT}", "served:app"],
    "uvicorn with workers": [sys.executable, "-m", "uvicorn", "--workers", "2", "--port", str(PORT), "served_asgi:app"],
    "uvicorn --reload": [sys.executable, "-m", "uvicorn", "--reload", "--port", str(PORT), "served_asgi:app"],
    "Node's cluster": ["node", "served.js"],
    "SO_REUSEPORT": [sys.executable, "reuse.py"],
    "nginx": ["nginx", "-p", ".", "-c", "nginx.conf"],
}


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.parametrize("name", SERVERS)
def test_a_server_of_several_processes_gets_the_pods_requests(
    name: str, interceptor: str, pod: Pod, original: None, tmp_path: Path
) -> None:
    need(SERVERS[name][0])
    files = {"served.py": WSGI, "served_asgi.py": ASGI, "served.js": CLUSTER, "reuse.py": REUSE, "nginx.conf": NGINX}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    command = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "--steal", "--progress", "json"]
    command += ["--interceptor", interceptor]
    with subprocess.Popen(
        [*command, "--", *SERVERS[name]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        try:
            event(process, "PortSubscribed")
            until_served(pod, ["program"], [get()])
            served = in_network_of(pod.pid, ASK, str(PORT)).splitlines()
            assert len(served) == 12
            assert all(answer.startswith("program ") for answer in served), served
        finally:
            end(process)
    until_served(pod, ["original"], [get()])


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")
def test_a_server_that_reloads_keeps_the_port(pod: Pod, original: None, tmp_path: Path) -> None:
    (tmp_path / "served_asgi.py").write_text(ASGI)
    command = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "--steal", "--progress", "json"]
    with subprocess.Popen(
        [*command, "--", *SERVERS["uvicorn --reload"]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        try:
            event(process, "PortSubscribed")
            until_served(pod, ["program"], [get()])
            changed, again_s, end_s = ASGI.replace('b"program', 'b"changed'), 0.0, time.monotonic() + 2 * LIMIT_S
            while not answers(pod, get())[0].startswith("changed"):
                assert time.monotonic() < end_s
                if time.monotonic() > again_s:
                    # Again and again: uvicorn compares with what it found at its first look, which may come after a change.
                    (tmp_path / "served_asgi.py").write_text(changed)
                    again_s = time.monotonic() + LIMIT_S / 6
                time.sleep(0.05)
        finally:
            end(process)
