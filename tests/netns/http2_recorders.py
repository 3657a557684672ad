"""Servers of HTTP/2 that tell what they were asked, a line of JSON for each request, and clients that ask many things at once."""

import sys

# Told its port and options: `settings` of HTTP/2, `delay` before an answer in ms, `closes` the connection after each request.
NODE = """
const http2 = require("http2"), crypto = require("crypto");
const [port, text] = process.argv.slice(1), options = JSON.parse(text);
const server = http2.createServer({settings: options.settings || {}});
server.on("stream", (stream, headers) => {
  const total = crypto.createHash("sha256");
  let size = 0, trailer = null, ended = false;
  stream.on("error", () => {});
  stream.on("trailers", trailers => { trailer = trailers["x-end"]; });
  stream.on("data", data => { total.update(data); size += data.length; });
  stream.on("close", () => {
    const method = headers[":method"], path = headers[":path"], mine = headers["x-mine"] || null;
    const isWhole = ended && !stream.aborted, hash = isWhole ? total.digest("hex") : null;
    console.log(JSON.stringify({method, path, mine, size, hash, trailer, isWhole, code: stream.rstCode}));
  });
  if (headers[":path"].startsWith("/taken-back/")) {
    console.log(JSON.stringify({began: headers[":path"]}));
    stream.respond({":status": 200});
  }
  stream.on("end", () => {
    ended = true;
    setTimeout(() => {
      if (stream.destroyed || stream.closed) return;
      if (!stream.headersSent) stream.respond({":status": 200});
      stream.end(Buffer.alloc(Number(headers["x-answer"] || 10)));
      if (options.closes) stream.session.close();
    }, options.delay || 0);
  });
});
server.listen(Number(port), "0.0.0.0", () => console.log(JSON.stringify({ready: true})));
"""

# On one connection: bodies of all sizes in turns, some with trailers, some taken back once they were answered.
NODE_CLIENT = """
const http2 = require("http2");
const [url, count, largest] = process.argv.slice(1);
const client = http2.connect(url);
let left = Number(count);
const over = () => { if (--left === 0) client.close(); };
for (let number = 0; number < Number(count); number++) {
  const isTakenBack = number % 10 > 7, hasTrailers = number % 3 === 0;
  const headers = {":method": "POST", ":path": (isTakenBack ? "/taken-back/" : "/") + number, "x-number": String(number)};
  // The large ones are matched or not, too, so not by odd numbers.
  if (Math.floor(number / 2) % 2) headers["x-mine"] = "1";
  const stream = client.request(headers, {waitForTrailers: hasTrailers});
  stream.on("error", error => { if (!isTakenBack) console.log(number, String(error)); });
  stream.on("wantTrailers", () => stream.sendTrailers({"x-end": "end of " + number}));
  stream.resume();
  stream.on("close", over);
  if (isTakenBack) stream.on("response", () => stream.close(http2.constants.NGHTTP2_CANCEL));
  let rest = [0, 1, 1000, 100_000, Number(largest)][number % 5], at = 0;
  const more = () => {
    if (stream.destroyed) return;
    if (rest <= 0) { if (!isTakenBack) stream.end(); return; }
    const piece = Buffer.alloc(Math.min(rest, 50_021), number + " " + at++);
    rest -= piece.length;
    stream.write(piece, more);
  };
  more();
}
"""

# On one connection, as lines on stdin say: [path, headers] begins a request, [path] ends it, [path, null] takes it back.
TOLD = """
import json, select, socket, sys
from h2.connection import H2Connection
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
connection, streams = H2Connection(), {}
connection.initiate_connection()
while True:
    sock.sendall(connection.data_to_send())
    ready, _, _ = select.select([sock, sys.stdin], [], [])
    if sock in ready:
        connection.receive_data(sock.recv(65536))
        continue
    line = sys.stdin.buffer.raw.readline()
    if not line:
        break
    path, *more = json.loads(line)
    if more == [None]:
        connection.reset_stream(streams[path], 8)
    elif more:
        streams[path] = number = connection.get_next_available_stream_id()
        head = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "here", **more[0]}
        connection.send_headers(number, list(head.items()))
        connection.send_data(number, path.encode())
    else:
        connection.end_stream(streams[path])
"""

GRPC = """
import hashlib, json, sys, threading
from concurrent import futures
import grpc
lock = threading.Lock()

def tell(what, context, *requests):
    given = dict(context.invocation_metadata())
    said = {"what": what, "number": given["x-number"], "mine": given.get("x-mine")}
    said["hash"] = hashlib.sha256(b"|".join(requests)).hexdigest()
    with lock:
        print(json.dumps(said), flush=True)

def one(request, context):
    tell("one", context, request)
    if request == b"fail":
        context.abort(grpc.StatusCode.NOT_FOUND, "original has none")
    context.set_trailing_metadata((("x-end", "original"),))
    return b"original " + request

def many(request, context):
    tell("many", context, request)
    for number in range(int(request)):
        yield b"original %d" % number

def talk(requests, context):
    heard = []
    for request in requests:
        heard.append(request)
        yield b"original " + request
    tell("talk", context, *heard)

handlers = {
    "One": grpc.unary_unary_rpc_method_handler(one),
    "Many": grpc.unary_stream_rpc_method_handler(many),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
}
server = grpc.server(futures.ThreadPoolExecutor(32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
server.add_insecure_port("0.0.0.0:" + sys.argv[1])
server.start()
print(json.dumps({"ready": True}), flush=True)
server.wait_for_termination()
"""

# Takes "Upgrade: h2c".
HYPERCORN = """
import asyncio, json, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    while (await receive()).get("more_body"):
        pass
    print(json.dumps({"path": scope["path"], "version": scope["http_version"]}), flush=True)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["http_version"].encode() + b"\\n"})

config = Config()
config.bind = ["0.0.0.0:" + sys.argv[1]]
config.errorlog = None
print(json.dumps({"ready": True}), flush=True)
asyncio.run(serve(app, config))
"""

COMMANDS = {
    "node": ["node", "-e", NODE],
    "grpc": [sys.executable, "-c", GRPC],
    "hypercorn": [sys.executable, "-c", HYPERCORN],
}
