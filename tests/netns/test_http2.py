"""Streams of HTTP/2 on a filtered port, with real clients and servers in a network namespace: gRPC, Node, curl, h2load."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest

from inpod.agent.incoming.http.connection import serve
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.h2 import serve_http2
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream, Tunnel
from tests.netns.test_http import Filters, Session, fresh_netns
from tests.netns.traffic import Netns, wait_until

PORT, ORIGINAL_PORT, PROGRAM_PORT = 8000, 8001, 8002
URL = f"http://127.0.0.1:{PORT}"
MIB = 1024 * 1024
CLIENT_LIMIT_S = 90.0
END_LIMIT_S = 10.0

# Each server is told its name and port.

GRPC_SERVER = """
import sys
from concurrent import futures
import grpc
name, port = sys.argv[1].encode(), sys.argv[2]

def one(request, context):
    if request == b"fail":
        context.abort(grpc.StatusCode.NOT_FOUND, sys.argv[1] + " has none")
    context.set_trailing_metadata((("x-end", sys.argv[1]),))
    return name + b" " + request

def many(request, context):
    for number in range(int(request)):
        yield name + b" %d" % number

def talk(requests, context):
    for request in requests:
        yield name + b" " + request

handlers = {
    "One": grpc.unary_unary_rpc_method_handler(one),
    "Many": grpc.unary_stream_rpc_method_handler(many),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
}
server = grpc.server(futures.ThreadPoolExecutor(32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
server.add_insecure_port("127.0.0.1:" + port)
server.start()
server.wait_for_termination()
"""

# Says how many answers of each kind came from whom, by one channel and so by one connection.
GRPC_CLIENT = """
import json, queue, sys, threading
from concurrent import futures
import grpc
channel = grpc.insecure_channel("127.0.0.1:" + sys.argv[1])
one = channel.unary_unary("/test.Test/One")
many = channel.unary_stream("/test.Test/Many")
talk = channel.stream_stream("/test.Test/Talk")
wrong = []

def metadata(mine, number):
    return [("x-number", str(number))] + [("x-mine", "1")] * mine

def expect(what, got, wanted):
    if got != wanted:
        wrong.append([what, repr(got)[:200], repr(wanted)[:200]])

def call(number):
    mine = number % 2 == 1
    name = b"program" if mine else b"original"
    if number % 10 < 6:
        size = (10, 1000, 100_000, 1_000_000)[number // 2 % 4]
        body = bytes(size)
        answer, end = one.with_call(body, metadata=metadata(mine, number), timeout=60)
        expect("one", answer, name + b" " + body)
        expect("trailers", dict(end.trailing_metadata()), {"x-end": name.decode()})
    elif number % 10 < 8:
        expect("many", list(many(b"200", metadata=metadata(mine, number), timeout=60)), [name + b" %d" % n for n in range(200)])
    else:
        said = queue.Queue()
        said.put(b"0")
        heard = []
        for answer in talk(iter(said.get, None), metadata=metadata(mine, number), timeout=60):
            heard.append(answer)
            said.put(b"%d" % len(heard) if len(heard) < 50 else None)
        expect("talk", heard, [name + b" %d" % n for n in range(50)])

with futures.ThreadPoolExecutor(16) as pool:
    list(pool.map(call, range(200)))
for mine, name in ((False, "original"), (True, "program")):
    try:
        one(b"fail", metadata=metadata(mine, 0), timeout=60)
    except grpc.RpcError as error:
        expect("error", (error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, name + " has none"))
    else:
        wrong.append("no error")
print(json.dumps(wrong))
"""

NODE_SERVER = """
const http2 = require("http2"), crypto = require("crypto");
const [name, port] = process.argv.slice(1);
const server = http2.createServer();
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const total = crypto.createHash("sha256");
  let size = 0;
  stream.on("data", data => { total.update(data); size += data.length; });
  stream.on("end", () => {
    if (stream.destroyed || stream.closed) return;
    const path = headers[":path"];
    if (path.startsWith("/stream/")) {
      stream.respond({":status": 200, "x-who": name}, {waitForTrailers: true});
      const hash = crypto.createHash("sha256");
      stream.on("wantTrailers", () => stream.sendTrailers({"x-sha256": hash.digest("hex")}));
      let left = Number(path.slice(8)), at = 0;
      const more = () => {
        while (left > 0) {
          const piece = Buffer.alloc(Math.min(left, 65521), name + at++);
          left -= piece.length;
          hash.update(piece);
          if (!stream.write(piece)) { stream.once("drain", more); return; }
        }
        stream.end();
      };
      more();
      return;
    }
    stream.respond({":status": 200, "x-who": name});
    stream.end(JSON.stringify([name, headers[":method"], path, size, total.digest("hex")]));
  });
});
server.listen(Number(port), "127.0.0.1");
"""

# Half of the requests of one connection are matched; some are taken back. Prints what is wrong.
NODE_CLIENT = """
const http2 = require("http2");
const [url, count] = process.argv.slice(1);
const client = http2.connect(url), wrong = [];
client.on("error", error => wrong.push(String(error)));
let begun = 0, ended = 0;
const next = () => {
  if (begun === Number(count)) return;
  const number = begun++, mine = number % 2 === 1, name = mine ? "program" : "original";
  const isTakenBack = number % 20 > 17;
  const headers = {":method": "POST", ":path": "/" + number, ...(mine ? {"x-mine": "1"} : {})};
  const stream = client.request(headers);
  let text = "";
  stream.on("data", data => { text += data; });
  stream.on("error", error => wrong.push([number, String(error)]));
  stream.on("close", () => {
    if (!isTakenBack) {
      const [who, method, path, size] = text ? JSON.parse(text) : [];
      if (who !== name || path !== "/" + number || size !== number * 97) wrong.push([number, text, stream.rstCode]);
    }
    next();
    if (++ended === Number(count)) { client.close(); console.log(JSON.stringify(wrong)); }
  });
  stream.write(Buffer.alloc(number * 97));
  if (isTakenBack) stream.close(http2.constants.NGHTTP2_CANCEL); else stream.end();
};
for (let at = 0; at < 50; at++) next();
"""

# Sends and reads 100 MiB on one stream each, slowly; the pieces of the body all differ.
NODE_BULK = """
const http2 = require("http2"), crypto = require("crypto");
const [url, size, mine] = process.argv.slice(1);
const client = http2.connect(url), extra = mine === "1" ? {"x-mine": "1"} : {};
const sent = crypto.createHash("sha256"), got = crypto.createHash("sha256");
let left = Number(size), at = 0, pauses = 0;
const up = client.request({":method": "PUT", ":path": "/up", ...extra});
const more = () => {
  while (left > 0) {
    const piece = Buffer.alloc(Math.min(left, 100003), "up" + at++);
    left -= piece.length;
    sent.update(piece);
    if (!up.write(piece)) { up.once("drain", more); return; }
  }
  up.end();
};
let answer = "";
up.on("data", data => { answer += data; });
up.on("end", () => {
  const down = client.request({":path": "/stream/" + size, ...extra});
  let count = 0, trailers = {}, who = "";
  down.on("response", headers => { who = headers["x-who"]; });
  down.on("trailers", headers => { trailers = headers; });
  down.on("data", data => {
    count += data.length;
    got.update(data);
    if (count > (pauses + 1) * 4 * 1024 * 1024) { pauses++; down.pause(); setTimeout(() => down.resume(), 10); }
  });
  down.on("end", () => {
    client.close();
    console.log(JSON.stringify({
      up: JSON.parse(answer), sent: sent.digest("hex"), who, count, got: got.digest("hex"), trailer: trailers["x-sha256"],
    }));
  });
});
more();
"""

# Takes "Upgrade: h2c".
HYPERCORN = """
import asyncio, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config
name, port = sys.argv[1].encode(), sys.argv[2]

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    while (await receive()).get("more_body"):
        pass
    body = name + b" " + scope["http_version"].encode() + b" " + scope["raw_path"] + b"\\n"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})

config = Config()
config.bind = ["127.0.0.1:" + port]
config.errorlog = None
asyncio.run(serve(app, config))
"""

COMMANDS = {
    "grpc": [sys.executable, "-c", GRPC_SERVER],
    "node": ["node", "-e", NODE_SERVER],
    "hypercorn": [sys.executable, "-c", HYPERCORN],
    "http.server": [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d"],
}


@pytest.fixture
def netns() -> Iterator[Netns]:
    with fresh_netns() as netns:
        yield netns


@contextmanager
def running(netns: Netns, kind: str, name: str, port: int) -> Iterator[None]:
    """Run a server until the end of the block."""
    if shutil.which(COMMANDS[kind][0]) is None:
        pytest.skip(f"no {kind} here")
    arguments = ["/var/empty", str(port)] if kind == "http.server" else [name, str(port)]
    process = netns.inside(lambda: subprocess.Popen([*COMMANDS[kind], *arguments], stderr=subprocess.DEVNULL))

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


@contextmanager
def both(netns: Netns, kind: str) -> Iterator[None]:
    """Run an original and a program."""
    with running(netns, kind, "original", ORIGINAL_PORT), running(netns, kind, "program", PROGRAM_PORT):
        yield


@dataclass
class Served:
    """A served port.

    Attributes:
        connections: How many clients came.
        opened: Connections to the original and to the program.
    """

    netns: Netns
    counts: Counts = field(default_factory=Counts)
    connections: int = 0
    opened: list[int] = field(default_factory=list)

    async def client(self, *command: str) -> str:
        """Return what a client prints that ends well."""
        code, text = await self.run(*command)
        assert code == 0, text
        return text

    async def run(self, *command: str) -> tuple[int, str]:
        """Return how a client ends, and what it prints."""
        process = self.netns.inside(
            lambda: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
        try:
            text, _ = await asyncio.to_thread(process.communicate, None, CLIENT_LIMIT_S)
        finally:
            process.kill()
            process.wait(END_LIMIT_S)
        return process.returncode, text

    async def curl(self, *arguments: str) -> str:
        return await self.client("curl", "--silent", "--show-error", "--http2-prior-knowledge", *arguments)

    async def connect(self, port: int) -> socket.socket:
        self.opened.append(port)
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
                here.connections += 1
                group.create_task(serve(sock, filters, lambda: here.connect(ORIGINAL_PORT), here.counts, serve_http2))

        accepting = group.create_task(accept())
        try:
            yield here
        finally:
            accepting.cancel()
            listener.close()
            near.close()
            far.close()


async def test_grpc_calls_of_one_channel_are_decided_one_by_one(netns: Netns) -> None:
    with both(netns, "grpc"):
        async with served(netns) as here:
            assert json.loads(await here.client(sys.executable, "-c", GRPC_CLIENT, str(PORT))) == []
            assert (here.counts.seen, here.counts.matched, here.counts.passed) == (202, 101, 101)
            assert (here.connections, sorted(here.opened)) == (1, [ORIGINAL_PORT, PROGRAM_PORT])


async def test_node_s_streams_are_decided_one_by_one_and_taken_back(netns: Netns) -> None:
    with both(netns, "node"):
        async with served(netns) as here:
            assert json.loads(await here.client("node", "-e", NODE_CLIENT, URL, "1000")) == []
            assert here.connections == 1
            assert here.counts.matched + here.counts.passed <= here.counts.seen <= 1000
            assert here.counts.seen >= 900


@pytest.mark.parametrize("mine", [False, True], ids=["original", "program"])
async def test_100_mib_are_exact_with_a_slow_reader(netns: Netns, mine: bool) -> None:
    size = 100 * MIB
    with both(netns, "node"):
        async with served(netns) as here:
            told = json.loads(await here.client("node", "-e", NODE_BULK, URL, str(size), "1" if mine else "0"))
            name = "program" if mine else "original"
            assert told["up"] == [name, "PUT", "/up", size, told["sent"]]
            assert (told["who"], told["count"]) == (name, size)
            assert told["got"] == told["trailer"]


async def test_curl_and_filters_that_look_at_the_body(netns: Netns) -> None:
    with both(netns, "node"):
        async with served(netns) as here:
            for body, name in (("this is mine", "program"), ("this is not", "original")):
                text = await here.curl("--data", body, f"{URL}/body/1")
                assert json.loads(text)[:4] == [name, "POST", "/body/1", len(body)]
            # Two on one connection, of which the second is for another.
            text = await here.curl(f"{URL}/a", "--next", "--silent", "--header", "X-Mine: 1", f"{URL}/b")
            answers = text.replace("][", "]\n[").splitlines()
            assert [json.loads(answer)[0] for answer in answers] == ["original", "program"]
            assert here.connections == 3


@pytest.mark.parametrize("mine", [False, True], ids=["original", "program"])
async def test_h2load_loses_nothing(netns: Netns, mine: bool) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("no h2load here")
    with both(netns, "node"):
        async with served(netns) as here:
            header = ["--header", "x-mine: 1"] if mine else []
            text = await here.client("h2load", "-n", "4000", "-c", "8", "-m", "60", *header, f"{URL}/a")
            assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in text
            assert (here.counts.matched if mine else here.counts.passed) == 4000


async def test_upgrade_to_http2_goes_whole_to_whom_the_first_request_is_for(netns: Netns) -> None:
    with both(netns, "hypercorn"):
        async with served(netns) as here:
            for mine, name in (([], "original"), (["--header", "X-Mine: 1"], "program")):
                text = await here.client(
                    "curl", "--silent", "--show-error", "--http2", *mine, f"{URL}/a", "--next", "--silent", "--http2", f"{URL}/b"
                )  # fmt: skip
                assert text.splitlines() == [f"{name} 2 /a", f"{name} 2 /b"]
            assert here.connections == 2


async def test_program_without_http2_ends_its_own_requests(netns: Netns) -> None:
    with ExitStack() as undo:
        undo.enter_context(running(netns, "node", "original", ORIGINAL_PORT))
        undo.enter_context(running(netns, "http.server", "program", PROGRAM_PORT))
        async with served(netns) as here:
            code, _ = await here.run("curl", "--silent", "--http2-prior-knowledge", "--header", "X-Mine: 1", f"{URL}/a")
            assert code == 92  # CURLE_HTTP2_STREAM
            assert json.loads(await here.curl(f"{URL}/a"))[0] == "original"


async def test_original_that_is_not_there_ends_its_requests_only(netns: Netns) -> None:
    with running(netns, "node", "program", PROGRAM_PORT):
        async with served(netns) as here:
            code, _ = await here.run("curl", "--silent", "--http2-prior-knowledge", f"{URL}/a")
            assert code == 56  # curl's word for a stream that was refused
            assert json.loads(await here.curl("--header", "X-Mine: 1", f"{URL}/a"))[0] == "program"
