"""Requests of a filtered port, with real clients and servers in a network namespace."""

import asyncio
import hashlib
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_websocket

from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.http.connection import serve
from inpod.agent.incoming.http.counts import Counts
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream, Tunnel
from tests.netns.traffic import Netns, wait_until
from tests.packages import need

PORT, ORIGINAL_PORT, PROGRAM_PORT = 8000, 8001, 8002
URL = f"http://127.0.0.1:{PORT}"
MIB = 1024 * 1024
CLIENT_LIMIT_S = 30.0
END_LIMIT_S = 10.0

# Each answers with JSON about itself and the request; /stream/N with N times its name in chunks.

UVICORN = """
import hashlib, json, sys
import uvicorn
name, port = sys.argv[1], int(sys.argv[2])

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            text = message.get("text")
            if text is None:
                await send({"type": "websocket.send", "bytes": message["bytes"]})
            else:
                await send({"type": "websocket.send", "text": name + " " + text})
        return
    total, size, more = hashlib.sha256(), 0, True
    while more:
        message = await receive()
        total.update(message.get("body", b""))
        size += len(message.get("body", b""))
        more = message.get("more_body")
    if scope["path"].startswith("/stream/"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(int(scope["path"][8:])):
            await send({"type": "http.response.body", "body": name.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    path = scope["raw_path"].decode()
    if scope["query_string"]:
        path += "?" + scope["query_string"].decode()
    body = json.dumps([name, scope["method"], path, size, total.hexdigest()]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", lifespan="off", timeout_keep_alive=60)
"""

HTTP_SERVER = """
import hashlib, http.server, json, sys
name, port = sys.argv[1], int(sys.argv[2])

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/stream/"):
            # Ends with the connection.
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            for _ in range(int(self.path[8:])):
                self.wfile.write(name.encode())
            self.close_connection = True
            return
        text = json.dumps([name, self.command, self.path, len(body), hashlib.sha256(body).hexdigest()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_HEAD = answer

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

NODE = """
const http = require("http"), crypto = require("crypto");
const [name, port] = process.argv.slice(1);
http.createServer((request, response) => {
  const total = crypto.createHash("sha256");
  let size = 0;
  request.on("data", data => { total.update(data); size += data.length; });
  request.on("end", () => {
    if (request.url.startsWith("/stream/")) {
      for (let left = Number(request.url.slice(8)); left > 0; left--) response.write(name);
      response.end();
      return;
    }
    const text = JSON.stringify([name, request.method, request.url, size, total.digest("hex")]);
    response.setHeader("Content-Length", Buffer.byteLength(text));
    response.end(text);
  });
}).listen(Number(port), "127.0.0.1");
"""

COMMANDS = {
    "uvicorn": [sys.executable, "-c", UVICORN],
    "http.server": [sys.executable, "-c", HTTP_SERVER],
    "node": ["node", "-e", NODE],
}


@contextmanager
def fresh_netns() -> Iterator[Netns]:
    netns = Netns()
    try:
        netns.run("ip", "link", "set", "lo", "up")
        yield netns
    finally:
        netns.close()


@pytest.fixture(scope="module")
def netns() -> Iterator[Netns]:
    with fresh_netns() as netns:
        yield netns


@contextmanager
def running(netns: Netns, kind: str, name: str, port: int) -> Iterator[None]:
    """Run a server until the end of the block."""
    process = netns.inside(lambda: subprocess.Popen([*COMMANDS[kind], name, str(port)]))

    def is_listening() -> bool:
        assert process.poll() is None
        try:
            netns.connect("127.0.0.1", port).close()
        except OSError:
            return False
        return True

    try:
        wait_until(is_listening, f"{kind} listens")
        yield
    finally:
        process.terminate()
        process.wait(END_LIMIT_S)


@pytest.fixture(scope="module", params=["uvicorn", "http.server", "node"])
def servers(netns: Netns, request: pytest.FixtureRequest) -> Iterator[str]:
    """An original and a program of one kind."""
    kind: str = request.param
    need(COMMANDS[kind][0])
    with ExitStack() as undo:
        undo.enter_context(running(netns, kind, "original", ORIGINAL_PORT))
        undo.enter_context(running(netns, kind, "program", PROGRAM_PORT))
        yield kind


class Session:
    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def open(self) -> Stream:
        return self._tunnel.open(b"")


@dataclass
class Filters:
    """Gives the session what has the header X-Mine, or "mine" in the body of /body."""

    session: Session

    def choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        if head.target.startswith(b"/body"):
            if body is None:
                return Fate.NEEDS_BODY
            return self.session if b"mine" in body else Fate.ORIGINAL
        is_mine = any(name.lower() == b"x-mine" for name, _ in head.headers)
        return self.session if is_mine else Fate.ORIGINAL


@dataclass
class Served:
    netns: Netns
    counts: Counts = field(default_factory=Counts)

    async def curl(self, *arguments: str) -> bytes:
        """Return what curl prints."""
        command = ["curl", "--silent", "--show-error", "--max-time", str(CLIENT_LIMIT_S), *arguments]

        process = self.netns.inside(lambda: subprocess.Popen(command, stdout=subprocess.PIPE))
        with process:
            answer, _ = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0
        return answer

    async def connect(self, port: int) -> socket.socket:
        sock = self.netns.inside(socket.socket)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        return sock


@asynccontextmanager
async def served(netns: Netns) -> AsyncIterator[Served]:
    """Serve PORT, with the original behind it and the program behind a tunnel."""
    loop = asyncio.get_running_loop()
    here = Served(netns)
    listener = netns.listen("127.0.0.1", PORT)
    listener.setblocking(False)
    ours, theirs = socket.socketpair()
    async with asyncio.TaskGroup() as group:

        async def bridge(stream: Stream) -> None:
            sock = await here.connect(PROGRAM_PORT)
            stream.accept()
            await relay(stream, sock)

        def on_stream(stream: Stream, _: bytes) -> None:
            group.create_task(bridge(stream))

        far = Tunnel(initiator=False, on_stream=on_stream)
        near = Tunnel(initiator=True, on_stream=lambda stream, _: None)
        await far.attach(theirs)
        await near.attach(ours)
        filters = Filters(Session(near))

        async def accept() -> None:
            while True:
                sock, _ = await loop.sock_accept(listener)
                sock.setblocking(False)
                group.create_task(serve(sock, filters, lambda: here.connect(ORIGINAL_PORT), here.counts))

        accepting = group.create_task(accept())
        try:
            yield here
        finally:
            accepting.cancel()
            listener.close()
            near.close()
            far.close()


def described(name: str, method: str, path: str, body: bytes = b"") -> list[object]:
    return [name, method, path, len(body), hashlib.sha256(body).hexdigest()]


async def test_curl_gets_each_answer_on_one_connection(netns: Netns, servers: str) -> None:
    async with served(netns) as here:
        # 0 connections made, but for the first request.
        arguments: list[str] = []
        expected: list[list[object]] = []
        for number in range(6):
            is_mine = number % 2 == 1
            arguments += ["--next"] * bool(number) + ["--silent", "--write-out", "\n%{num_connects}\n"]
            arguments += ["--header", "X-Mine: 1"] * is_mine
            arguments += [f"{URL}/{number}?a=b"]
            expected.append(described("program" if is_mine else "original", "GET", f"/{number}?a=b"))
        lines = (await here.curl(*arguments)).decode().splitlines()
        assert [json.loads(line) for line in lines[::2]] == expected
        assert lines[1::2] == ["1", "0", "0", "0", "0", "0"]
        assert (here.counts.matched, here.counts.passed, here.counts.whole) == (3, 3, 0)


@pytest.mark.parametrize("whose", ["original", "program"])
async def test_curl_uploads_counted_and_chunked(netns: Netns, servers: str, tmp_path: Path, whose: str) -> None:
    body = bytes(range(256)) * (4 * MIB // 256)
    file = tmp_path / "body"
    file.write_bytes(body)
    mine = ["--header", "X-Mine: 1"] if whose == "program" else []
    async with served(netns) as here:
        for more in ([], ["--header", "Transfer-Encoding: chunked"], ["--header", "Expect: 100-continue"]):
            text = await here.curl(*mine, *more, "--upload-file", str(file), f"{URL}/up")
            assert json.loads(text) == described(whose, "PUT", "/up", body)


@pytest.mark.parametrize(("body", "whose"), [(b"this is mine", "program"), (b"this is not", "original")])
async def test_body_is_looked_at_before_curl_is_told_to_continue(
    netns: Netns, servers: str, tmp_path: Path, body: bytes, whose: str
) -> None:
    file = tmp_path / "body"
    file.write_bytes(body + bytes(MIB))
    expecting = ["--header", "Expect: 100-continue", "--expect100-timeout", "20", "--include"]
    async with served(netns) as here:
        for path in ("/body/1", "/body/2"):
            text = await here.curl(*expecting, "--data-binary", f"@{file}", f"{URL}{path}")
            heads, _, answer = text.rpartition(b"\r\n\r\n")
            assert json.loads(answer) == described(whose, "POST", path, body + bytes(MIB))
            assert heads.count(b"100 Continue") == 1


@pytest.mark.parametrize("mine", [[], ["--header", "X-Mine: 1"]], ids=["original", "program"])
async def test_answers_of_every_framing_arrive_whole(netns: Netns, servers: str, mine: list[str]) -> None:
    whose = b"program" if mine else b"original"
    async with served(netns) as here:
        assert await here.curl(*mine, f"{URL}/stream/1000") == whose * 1000
        assert await here.curl(*mine, "--http1.0", f"{URL}/stream/1000") == whose * 1000
        assert whose in await here.curl(*mine, "--http1.0", f"{URL}/a", "--http1.0", f"{URL}/b")
        head = await here.curl(*mine, "--head", f"{URL}/a", "--next", "--silent", *mine, f"{URL}/b")
        assert head.startswith(b"HTTP/1.1 200")
        assert json.loads(head.rpartition(b"\n")[2]) == described(whose.decode(), "GET", "/b")
        # Asks for HTTP/2 by an upgrade, which none of these takes.
        assert whose in await here.curl(*mine, "--http2", f"{URL}/c")


async def test_many_clients_at_once(netns: Netns, servers: str) -> None:
    async with served(netns) as here:
        ranges = ["--parallel", "--parallel-max", "40", f"{URL}/[1-200]"]
        mine = ["--header", "X-Mine: 1", *ranges]
        ours, theirs = await here.curl(*mine), await here.curl(*ranges)
        assert (ours.count(b"program"), ours.count(b"original")) == (200, 0)
        assert (theirs.count(b"program"), theirs.count(b"original")) == (0, 200)


async def test_websockets_stay_with_who_agreed() -> None:
    with ExitStack() as undo:
        netns = undo.enter_context(fresh_netns())
        undo.enter_context(running(netns, "uvicorn", "original", ORIGINAL_PORT))
        undo.enter_context(running(netns, "uvicorn", "program", PROGRAM_PORT))
        async with served(netns) as here:
            for whose, headers in (("program", {"X-Mine": "1"}), ("original", {})):
                sock = await here.connect(PORT)
                url = f"ws://127.0.0.1:{PORT}/chat"
                async with connect_websocket(url, sock=sock, additional_headers=headers, proxy=None) as websocket:
                    for text in ("hello", "GET / HTTP/1.1\r\n\r\n"):
                        await websocket.send(text)
                        assert await websocket.recv() == f"{whose} {text}"
                    data = bytes(range(256)) * 2048
                    await websocket.send(data)
                    assert await websocket.recv() == data
