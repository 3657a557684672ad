"""Whole journeys through the runtimes that people use: files, names, connections out, a connection in."""

import errno
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.protocol.layer import Addr
from tests.fakes.pod import Link, Pod
from tests.layer.conftest import PROGRAMS, Stage

FAR = "10.9.9.9"
REFUSED, UNREACHABLE = 81, 82


class _Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"far!")

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def pod() -> Iterator[Pod]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Pod(
            files={"/app/config.yaml": b"hello", "/app/to-file": Link("config.yaml")},
            names={"web": [FAR]},
            services={
                (FAR, 80): server.server_address[1],
                (FAR, REFUSED): OSError(errno.ECONNREFUSED, ""),
                (FAR, UNREACHABLE): OSError(errno.EHOSTUNREACH, ""),
            },
        )
        server.shutdown()


def call(stage: Stage, process: "subprocess.Popen[str]", request: bytes = b"") -> str:
    """Call the program's port 8080 once it listens, and return all that it printed."""
    with stage.session.call(8080, peer=Addr.of("10.7.7.7", 1234)) as sock:
        sock.sendall(request)
        answer = b"".join(iter(lambda: sock.recv(999), b""))
    assert answer.endswith(b"bye")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    return out


def test_node(stage: Stage) -> None:
    process = stage.start("node", PROGRAMS / "connects.js", "web", "80", str(REFUSED), str(UNREACHABLE))
    assert call(stage, process, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").splitlines() == [
        "file hello",
        "promise hello",
        "list config.yaml,to-file",
        "real /app/config.yaml /app/config.yaml",
        "stat 5 false",
        f"http far! {FAR} 10.1.2.3",
        "fetch far!",
        f"http ECONNREFUSED {FAR}:{REFUSED}",
        "fetch ECONNREFUSED",
        f"http EHOSTUNREACH {FAR}:{UNREACHABLE}",
        "fetch EHOSTUNREACH",
        "listening :: 8080",
        "peer ::ffff:10.7.7.7 1234 ::ffff:10.1.2.3 8080",
    ]


@pytest.fixture(scope="session")
def java_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("java")
    subprocess.run(["javac", "-d", build, PROGRAMS / "Connects.java"], check=True)
    return build


def test_java(stage: Stage, java_classes: Path) -> None:
    command = (
        "java",
        "-Xshare:auto",
        "-cp",
        str(java_classes),
        "Connects",
        "web",
        "80",
        str(REFUSED),
        str(UNREACHABLE),
    )
    assert call(stage, stage.start(*command)).splitlines() == [
        "file hello",
        "real /app/config.yaml",
        "child hello",
        f"host {FAR}",
        f"socket ok web/{FAR}:80",
        f"channel ok web/{FAR}:80",
        "http far!",
        "socket Connection refused",
        "channel Connection refused",
        "http ConnectException",
        "socket No route to host",
        "channel No route to host",
        "http ConnectException",
        "listening 0.0.0.0/0.0.0.0:8080",
        "peer /10.7.7.7:1234",
    ]


ASYNCIO = """
import asyncio, os, sys, urllib.request
async def serve(reader, writer):
    print("peer", *writer.get_extra_info("peername")[:2], *writer.get_extra_info("sockname")[:2])
    writer.write(b"bye"); await writer.drain(); writer.close(); done.set()
async def main():
    global done; done = asyncio.Event()
    print(open("/app/config.yaml").read(), os.path.realpath("/app/to-file"), *sorted(os.listdir("/app")))
    print(await asyncio.to_thread(lambda: urllib.request.urlopen("http://web/").read().decode()))
    for port in sys.argv[1:]:
        try:
            async with asyncio.timeout(20): await asyncio.open_connection("web", int(port)); print("ok")
        except OSError as error: print(error.errno)
    server = await asyncio.start_server(serve, "0.0.0.0", 8080)
    print("listening", *server.sockets[0].getsockname(), flush=True)
    await done.wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_python(stage: Stage, loop: str) -> None:
    import sys

    code = ASYNCIO if loop == "asyncio" else ASYNCIO.replace("asyncio.run(", "import uvloop; uvloop.run(")
    process = stage.start(sys.executable, "-c", code, "80", str(REFUSED), str(UNREACHABLE))
    assert call(stage, process).splitlines() == [
        "hello /app/config.yaml config.yaml to-file",
        "far!",
        "ok",
        str(errno.ECONNREFUSED),
        str(errno.EHOSTUNREACH),
        "listening 0.0.0.0 8080",
        "peer 10.7.7.7 1234 10.1.2.3 8080",
    ]


@pytest.mark.parametrize("tool", ["curl", "bash"])
def test_tools(stage: Stage, tool: str) -> None:
    if tool == "curl":
        assert stage.output("curl", "-sS", "http://web/") == "far!"
    else:
        script = (
            f"exec 3<>/dev/tcp/web/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; tail -n1 <&3; : </dev/tcp/web/{REFUSED}"
        )
        done = stage.run("bash", "-c", script)
        assert done.stdout == "far!"
        assert "Connection refused" in done.stderr
