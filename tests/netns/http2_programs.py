"""Clients and servers of HTTP/2, as programs."""

import sys

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

# Says which answers are wrong, by one channel and so by one connection. May be told who answers all.
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
    name = sys.argv[2].encode() if sys.argv[2:] else b"program" if mine else b"original"
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
for mine, name in ((False, "original"), (True, sys.argv[-1] if sys.argv[2:] else "program")):
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

# Offers HTTP/2 with its requests, as Java's own client does where nobody says otherwise. Every second one is matched.
JAVA_CLIENT = """
import java.net.*;
import java.net.http.*;
class Main {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        for (int i = 0; i < Integer.parseInt(arguments[1]); i++) {
            var request = HttpRequest.newBuilder(URI.create(arguments[0] + "/" + i));
            if (i % 2 == 1) request.header("X-Mine", "1");
            System.out.print(client.send(request.build(), HttpResponse.BodyHandlers.ofString()).body());
        }
    }
}
"""

COMMANDS = {
    "grpc": [sys.executable, "-c", GRPC_SERVER],
    "node": ["node", "-e", NODE_SERVER],
    "hypercorn": [sys.executable, "-c", HYPERCORN],
    "http.server": [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "-d"],
}
