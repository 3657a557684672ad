"""HTTP filters and sharing: whole sessions of `inpod exec -f` on one port of a pod, and who answers each request."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from inpod.errors import ExitCode
from tests.events import Json, read
from tests.netns.conftest import Pod
from tests.netns.redirects import holding
from tests.netns.session import in_network_of
from tests.processes import LIMIT_S, end, next_line

PORT = 8080

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = b"%s %s %s %d" % (sys.argv[1].encode(), self.command.encode(), self.path.encode(), len(body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_GET = do_POST = do_PUT = answer
    def log_message(self, *args):
        print(self.command, self.path, flush=True)
http.server.ThreadingHTTPServer.allow_reuse_address = True
server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Handler)
print("ready", flush=True)
server.serve_forever()
"""

CLIENT = """
import http.client, json, sys
host, requests = json.loads(sys.argv[1])
connection = http.client.HTTPConnection(host, 8080, timeout=10)
for method, path, headers, body in requests:
    connection.request(method, path, body, headers)
    print(connection.getresponse().read().decode())
"""
"""Sends all requests on one connection."""

Request = tuple[str, str, dict[str, str], str | None]


def get(path: str = "/", **headers: str) -> Request:
    return "GET", path, {name.replace("_", "-"): value for name, value in headers.items()}, None


@pytest.fixture
def original(pod: Pod) -> Iterator[None]:
    """The pod's own service."""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", SERVER, "original", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert next_line(process.stdout) == "ready"
        yield
        process.terminate()


@contextmanager
def developer(
    pod: Pod, folder: Path, name: str, incoming: Json, *, waits: bool = True, server: str = SERVER, **agent: object
) -> Iterator["subprocess.Popen[str]"]:
    """A session whose program answers with `name`; ready once the port is subscribed."""
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"agent": agent, "feature": {"network": {"incoming": incoming}}}))
    options = ["-t", f"pid/{pod.pid}", "-f", str(config), "--progress", "json"]
    program = [sys.executable, "-c", server, name, str(PORT)]
    with subprocess.Popen(
        [sys.executable, "-m", "inpod", "exec", *options, "--", *program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=os.environ,
    ) as process:
        try:
            if waits:
                event(process, "PortSubscribed")
            yield process
        finally:
            end(process)


def event(process: "subprocess.Popen[str]", name: str) -> Json:
    """Return the session's next event of that name."""
    said = []
    while line := next_line(process.stderr):
        said.append(line)
        if line.startswith('{"event": ') and (found := read(line))["event"] == name:
            return found
    raise AssertionError("\n".join([f"no {name}, but:", *said]))


def warning(session: "subprocess.Popen[str]") -> str:
    """Return the next thing that a session says is wrong."""
    while (found := event(session, "Note"))["level"] != "warning":
        pass
    return str(found["text"])


def answers(pod: Pod, *requests: Request, host: str = "10.77.0.1") -> list[str]:
    """Return the answers to requests on one connection."""
    return in_network_of(pod.pid, CLIENT, json.dumps([host, requests])).splitlines()


def steal(**http_filter: object) -> Json:
    return {"mode": "steal", "http_filter": http_filter}


@pytest.mark.parametrize("redirect", ["sk_lookup", "nftables"])
def test_requests_of_one_connection_go_where_the_filter_says(
    pod: Pod, original: None, tmp_path: Path, redirect: str
) -> None:
    with developer(pod, tmp_path, "alice", steal(header_filter="^x-user: alice$"), redirect=redirect):
        found = answers(
            pod,
            get("/1"),
            get("/2", X_User="alice"),
            get("/3", X_User="bob"),
            ("POST", "/4", {"X-User": "alice"}, "x" * 20_000),
            ("POST", "/5", {}, "x" * 20_000),
            get("/6", X_User="ALICE"),
        )
    assert found == [
        "original GET /1 0",
        "alice GET /2 0",
        "original GET /3 0",
        "alice POST /4 20000",
        "original POST /5 20000",
        "alice GET /6 0",
    ]


@pytest.mark.parametrize(
    ("http_filter", "is_mine"),
    [
        ({"path_filter": "^/api/"}, [False, True, True, True]),
        ({"path_filter": r"\?x="}, [False, False, True, False]),
        ({"method_filter": "post"}, [False, False, False, True]),
        ({"all_of": [{"path": "^/api"}, {"method": "GET"}]}, [False, True, True, False]),
        ({"any_of": [{"path": "^/$"}, {"method": "POST"}]}, [True, False, False, True]),
        (
            {"body_filter": {"body": "json", "query": "$.user.name", "matches": "^alice$"}},
            [False, False, False, True],
        ),
    ],
)
def test_every_kind_of_filter(pod: Pod, original: None, tmp_path: Path, http_filter: Json, is_mine: list[bool]) -> None:
    requests: list[Request] = [
        get("/"),
        get("/api/a"),
        get("/api/a?x=1"),
        ("POST", "/api/b", {"Content-Type": "application/json"}, '{"user": {"name": "alice"}}'),
    ]
    with developer(pod, tmp_path, "alice", steal(**http_filter)):
        found = answers(pod, *requests)
    assert [answer.startswith("alice") for answer in found] == is_mine


@pytest.mark.parametrize("redirect", ["sk_lookup", "nftables"])
def test_two_developers_share_a_port(pod: Pod, original: None, tmp_path: Path, redirect: str) -> None:
    requests = [get("/a", X_User="alice"), get("/b", X_User="bob"), get("/c"), get("/d", X_User="alice")]
    with ExitStack() as undo:
        alice = developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice"), redirect=redirect)
        undo.enter_context(alice)
        with developer(pod, tmp_path, "bob", steal(header_filter="x-user: bob"), redirect=redirect):
            found = answers(pod, *requests)
            assert [answer.split()[0] for answer in found] == ["alice", "bob", "original", "alice"]
        until_served(pod, ["alice", "original", "original", "alice"], requests)


def until_served(pod: Pod, by: list[str], requests: list[Request]) -> None:
    """Wait until the requests are served by these."""
    end = time.monotonic() + LIMIT_S
    while True:
        found = [answer.split()[0] for answer in answers(pod, *requests)]
        if found == by:
            return
        assert time.monotonic() < end, found
        time.sleep(0.05)


def test_the_guest_takes_the_port_when_its_host_goes(pod: Pod, original: None, tmp_path: Path) -> None:
    requests = [get("/a", X_User="alice"), get("/b", X_User="bob"), get("/c")]
    with ExitStack() as undo:
        host = ExitStack()
        undo.enter_context(host)
        alice = host.enter_context(developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")))
        undo.enter_context(developer(pod, tmp_path, "bob", steal(header_filter="x-user: bob")))
        until_served(pod, ["alice", "bob", "original"], requests)
        alice.kill()
        until_served(pod, ["original", "bob", "original"], requests)


def test_a_whole_port_is_not_shared(pod: Pod, original: None, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice", {"mode": "steal"}):
        with developer(pod, tmp_path, "bob", steal(header_filter="x-user: bob"), waits=False) as bob:
            note = event(bob, "Note")
            assert "steals port 8080 of this pod" in str(note["text"])
            assert "@" in str(note["text"])
        assert answers(pod, get()) == ["alice GET / 0"]


def test_a_program_can_go_on_without_a_port_that_is_taken(pod: Pod, original: None, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice", {"mode": "steal"}):
        incoming: Json = {"mode": "steal", "on_concurrent_steal": "continue"}
        with developer(pod, tmp_path, "bob", incoming, waits=False) as bob:
            assert "the program goes on without it" in str(event(bob, "Note")["text"])
            assert next_line(bob.stdout) == "ready"
            assert answers(pod, get()) == ["alice GET / 0"]


def test_a_port_can_be_taken_over(pod: Pod, original: None, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice", {"mode": "steal"}) as alice:
        assert answers(pod, get()) == ["alice GET / 0"]
        with developer(pod, tmp_path, "bob", {"mode": "steal", "on_concurrent_steal": "override"}):
            until_served(pod, ["bob"], [get()])
            assert "no longer this session's" in warning(alice)


def test_a_mirrored_port_brings_only_what_matches(pod: Pod, original: None, tmp_path: Path) -> None:
    incoming: Json = {"mode": "mirror", "http_filter": {"header_filter": "x-user: alice"}}
    with developer(pod, tmp_path, "alice", incoming) as alice:
        assert next_line(alice.stdout) == "ready"
        found = answers(
            pod, get("/1"), get("/2", X_User="alice"), ("POST", "/3", {"X-User": "alice"}, "x" * 5000), get("/4")
        )
        assert [answer.split()[0] for answer in found] == ["original"] * 4
        assert [next_line(alice.stdout), next_line(alice.stdout)] == ["GET /2", "POST /3"]


def test_why_a_request_did_not_come_is_said(pod: Pod, original: None, tmp_path: Path) -> None:
    with developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice")) as alice:
        answers(pod, get("/1", X_User="bob"), get("/2", X_User="alice"))
        traffic = event(alice, "PortTraffic")
        assert (traffic["seen"], traffic["matched"], traffic["passed"]) == (2, 1, 1)
        assert "GET /1: header_filter 'x-user: alice' matches no header" in str(traffic["why"])
        assert "'X-User: bob'" in str(traffic["why"])


def test_a_wrong_filter_is_shown_with_a_caret(pod: Pod, tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"feature": {"network": {"incoming": steal(header_filter="x-user: (?=a)")}}}))
    command = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "-f", str(config), "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == ExitCode.USAGE
    lines = done.stderr.splitlines()
    assert lines[0].startswith("inpod: feature.network.incoming.http_filter.header_filter: look-around")
    assert lines[0].endswith("(RFC 9535).")
    assert lines[2].index("^") == lines[1].index("(?=")


KEPT = """
import http.client, json, sys
connection = http.client.HTTPConnection("10.77.0.1", 8080, timeout=10)
def ask():
    connection.request("GET", "/kept", headers={"X-User": "alice"})
    return connection.getresponse().read().decode().split()[0]
print(ask(), flush=True)
sys.stdin.readline()
try:
    print(ask(), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
    connection.close()
    print(ask(), flush=True)
"""


@pytest.mark.parametrize("moves", [True, False])
def test_a_kept_connection_is_moved_if_asked(pod: Pod, original: None, tmp_path: Path, moves: bool) -> None:
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", KEPT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as client:
        assert client.stdin is not None
        assert next_line(client.stdout) == "original"
        with developer(pod, tmp_path, "alice", steal(header_filter="x-user: alice"), flush_connections=moves) as alice:
            traffic = event(alice, "PortTraffic")
            assert (traffic["moved"], traffic["stayed"]) == ((1, 0) if moves else (0, 1))
            client.stdin.write("\n")
            if moves:
                assert next_line(client.stdout) in ("ConnectionResetError", "RemoteDisconnected")
                assert next_line(client.stdout) == "alice"
            else:
                assert next_line(client.stdout) == "original"


def test_what_has_two_meanings_goes_to_the_original_and_is_said(pod: Pod, original: None, tmp_path: Path) -> None:
    code = """
import socket
sock = socket.create_connection(("10.77.0.1", 8080), 10)
sock.sendall(b"POST /mine HTTP/1.0\\r\\nContent-Length: 1\\r\\nContent-Length: 2\\r\\n\\r\\nxy")
print(sock.makefile().read())
"""
    with developer(pod, tmp_path, "alice", steal(path_filter="^/mine")) as alice:
        assert "original POST /mine 1" in in_network_of(pod.pid, code)
        traffic = event(alice, "PortTraffic")
        assert (traffic["whole"], traffic["matched"]) == (1, 0)
        assert "went to the original whole" in str(traffic["why"])


HTTP2_SERVER = """
const http2 = require("http2");
const server = http2.createServer((request, answer) => {
    let size = 0;
    request.on("data", (data) => (size += data.length));
    request.on("end", () => answer.end(`${process.argv[2]} ${request.method} ${request.url} ${size}`));
});
server.listen(8080, "0.0.0.0", () => console.log("ready"));
"""

HTTP2_CLIENT = """
const http2 = require("http2");
const session = http2.connect("http://10.77.0.1:8080");
const ask = (path, user, body) => new Promise((resolve, reject) => {
    const stream = session.request({ ":path": path, ":method": body ? "POST" : "GET", "x-user": user });
    let answer = "";
    stream.on("data", (data) => (answer += data));
    stream.on("end", () => resolve(answer));
    stream.on("error", reject);
    stream.end(body);
});
const body = "x".repeat(300000);
Promise.all([ask("/1", "alice"), ask("/2", "bob"), ask("/3", "alice", body), ask("/4", "bob", body)])
    .then((answers) => { console.log(answers.join("\\n")); session.close(); });
"""


def test_streams_of_one_http2_connection_go_where_the_filter_says(pod: Pod, tmp_path: Path) -> None:
    (tmp_path / "server.js").write_text(HTTP2_SERVER)
    (tmp_path / "client.js").write_text(HTTP2_CLIENT)
    in_pod = ["nsenter", "-t", str(pod.pid), "-n", "node"]
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"feature": {"network": {"incoming": steal(header_filter="^x-user: alice$")}}}))
    options = ["-t", f"pid/{pod.pid}", "-f", str(config), "--progress", "json"]
    program = ["node", str(tmp_path / "server.js"), "alice"]
    with ExitStack() as undo:
        original = undo.enter_context(
            subprocess.Popen([*in_pod, str(tmp_path / "server.js"), "original"], stdout=subprocess.PIPE, text=True)
        )
        undo.callback(original.terminate)
        assert next_line(original.stdout) == "ready"
        session = undo.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "inpod", "exec", *options, "--", *program],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        undo.callback(session.terminate)
        event(session, "PortSubscribed")
        asked = subprocess.run([*in_pod, str(tmp_path / "client.js")], capture_output=True, text=True, timeout=LIMIT_S)
        assert asked.stdout.splitlines() == [
            "alice GET /1 0",
            "original GET /2 0",
            "alice POST /3 300000",
            "original POST /4 300000",
        ], asked.stderr
        traffic = event(session, "PortTraffic")
        assert (traffic["seen"], traffic["matched"], traffic["passed"]) == (4, 2, 2)


def test_what_else_diverts_the_port_is_noticed(pod: Pod, original: None, tmp_path: Path) -> None:
    with holding("sk_lookup", before=["nsenter", "-t", str(pod.pid), "-n"]) as other:
        other.tell(f"steal {PORT}")
        # Who was there first is asked first by the kernel, and it is no agent that could be joined.
        with developer(pod, tmp_path, "alice", {"mode": "steal"}) as alice:
            assert "does not come to the agent" in warning(alice)


def test_port_that_nobody_can_call_is_told(tmp_path: Path) -> None:
    """In a network namespace that was just made not even the loopback interface is up."""
    command = ["unshare", "--net", "sh", "-c", "echo ready; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as bare:
        assert next_line(bare.stdout) == "ready"
        with developer(Pod(bare.pid), tmp_path, "alice", {"mode": "steal"}) as alice:
            said = warning(alice)
        bare.communicate()
    assert f"127.0.0.1:{PORT} does not come to the agent: Network is unreachable; nor can others" in said


RESTS = """
import socket
sock = socket.create_connection(("10.77.0.1", 8080), 20)
sock.sendall(b"GET / HTTP/1.1\\r\\nHost: pod\\r\\n\\r\\n")
sock.recv(65536)
print("answered", flush=True)
while data := sock.recv(65536):
    pass
print("closed", flush=True)
"""


def test_kept_connection_that_rests_is_closed_and_not_reset_at_the_end(
    pod: Pod, original: None, tmp_path: Path
) -> None:
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", RESTS]
    with developer(pod, tmp_path, "alice", steal(header_filter="^x-user: alice$")) as alice:
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert next_line(client.stdout) == "answered"
        alice.terminate()
        assert alice.wait(LIMIT_S) == -signal.SIGTERM
        assert client.communicate(timeout=LIMIT_S)[0] == "closed\n"
