"""Ten thousand connections at a time. On a stolen port: all are answered, and what they take of the agent's memory."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.events import Json
from tests.matrix import inpod
from tests.netns.conftest import Pod
from tests.netns.test_filter import PORT, event
from tests.processes import end, next_line

CONNECTIONS = 10_000
MIB = 1024 * 1024
MEMORY_LIMIT = 120 * MIB

WITH_LONG_HEADS = 1000
COOKIE_BYTES = 60_000
LONG_HEADS_LIMIT = 32 * MIB
"""About half of what the heads are. The connections themselves, and what reads requests, take 15 MiB."""

OTHER_DESCRIPTORS = 200
"""What an agent has open besides connections, at most."""

DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root"),
    pytest.mark.skipif(DESCRIPTORS < 15_000, reason=f"{DESCRIPTORS} descriptors are too few: see 'ulimit -Hn'"),
]

LIMITS = """
import resource, select, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
"""

SERVER = (
    LIMITS
    + """
listener = socket.create_server(("0.0.0.0", int(sys.argv[2])), backlog=1024)
answer = b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(sys.argv[1]), sys.argv[1].encode())
upgraded = b"HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: any\\r\\nConnection: upgrade\\r\\n\\r\\n" + sys.argv[1].encode()
poll, socks, heads = select.epoll(), {listener.fileno(): listener}, {}
poll.register(listener.fileno(), select.EPOLLIN)
print("ready", flush=True)
while True:
    for number, _ in poll.poll():
        if number == listener.fileno():
            sock, _ = listener.accept()
            socks[sock.fileno()] = sock
            poll.register(sock.fileno(), select.EPOLLIN)
        elif data := socks[number].recv(1 << 16):
            head = heads.pop(number, b"") + data
            if head.endswith(b"\\r\\n\\r\\n"):
                socks[number].send(upgraded if b"Upgrade" in head else answer)
            else:
                heads[number] = head
        else:
            socks.pop(number).close()
"""
)

CLIENT = (
    LIMITS
    + """
count, asking, who = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].encode()
path, cookie_bytes, more_lines = sys.argv[4].encode(), int(sys.argv[5]), sys.argv[6].encode()
socks = []
while len(socks) < count:
    more = [socket.create_connection(("10.77.0.1", 8080)) for _ in range(100)]
    asked = more[:max(0, asking - len(socks))]
    for number, sock in enumerate(asked, len(socks)):
        cookie = b"Cookie: %0*d\\r\\n" % (cookie_bytes, number) if cookie_bytes else b""
        sock.sendall(b"GET %s HTTP/1.1\\r\\nHost: pod\\r\\n%s%s\\r\\n" % (path, more_lines, cookie))
    for sock in asked:
        assert sock.recv(4096).endswith(who), "another answer"
    socks += more
    print("at", len(socks), flush=True)
print("open", len(socks), flush=True)
sys.stdin.read()
"""
)


PROGRAM = (
    LIMITS
    + """
socks = [socket.create_connection(("10.77.0.1", 8080)) for _ in range(int(sys.argv[1]))]
for sock in socks:
    sock.sendall(b"GET / HTTP/1.1\\r\\nHost: pod\\r\\n\\r\\n")
answered = sum(sock.recv(4096).endswith(b"original") for sock in socks)
own = {sock.getsockname() for sock in socks}
print(answered, len(own), {host for host, _ in own}, {sock.getpeername() for sock in socks})
"""
)

INTERCEPTED_LIMIT_S = 300


@pytest.fixture(autouse=True)
def ports(pod: Pod) -> None:
    """Enough for each test: those of the one before would not be free for a minute (TIME_WAIT)."""
    write = "echo 0 > /proc/sys/net/ipv4/tcp_max_tw_buckets"
    subprocess.run(["nsenter", "-t", str(pod.pid), "-n", "sh", "-c", write], check=True)


@contextmanager
def running(pod: Pod, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a Python program in the pod's network; it ends with the block."""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            end(process)


@contextmanager
def session(pod: Pod, folder: Path, incoming: Json) -> Iterator[int]:
    """A session whose program says "program"; yield its agent's pid once the port is subscribed."""
    config = folder / "inpod.json"
    config.write_text(json.dumps({"feature": {"network": {"incoming": incoming}}}))
    options = ["-t", f"pid/{pod.pid}", "-f", str(config), "--progress", "json"]
    command = [*inpod(), "exec", *options, "--", sys.executable, "-c", SERVER, "program", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            event(process, "PortSubscribed")
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            (agent,) = [pid for pid in children if b"inpod.agent" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            yield int(agent)
        finally:
            end(process)


def memory(pid: int) -> int:
    """Return the bytes of a process; what it shares with others counts in part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


@pytest.mark.parametrize(
    ("incoming", "who", "descriptors_each"),
    [
        ({"mode": "steal", "http_filter": {"path_filter": "^/mine$"}}, "original", 2),
        ({"mode": "steal"}, "program", 1),
    ],
    ids=["filtered", "stolen"],
)
def test_ten_thousand_connections_take_little_of_the_agent_s_memory(
    pod: Pod, tmp_path: Path, incoming: Json, who: str, descriptors_each: int
) -> None:
    # Those that asked have a connection to the original beside their own.
    left = DESCRIPTORS - OTHER_DESCRIPTORS - CONNECTIONS
    asking = min(CONNECTIONS, left) if descriptors_each == 2 else CONNECTIONS
    with running(pod, SERVER, "original", str(PORT)) as original:
        assert next_line(original.stdout) == "ready"
        with (
            session(pod, tmp_path, incoming) as agent,
            running(pod, CLIENT, str(CONNECTIONS), str(asking), who, "/", "0", "") as client,
        ):
            while (said := next_line(client.stdout)).startswith("at "):
                pass  # it goes on
            assert said == f"open {CONNECTIONS}"
            assert len(os.listdir(f"/proc/{agent}/fd")) >= asking * descriptors_each
            assert memory(agent) <= MEMORY_LIMIT


@pytest.mark.parametrize("more_lines", ["", "Connection: upgrade\r\nUpgrade: any\r\n"], ids=["kept", "upgraded"])
@pytest.mark.parametrize(("path", "who"), [("/", "original"), ("/mine", "program")])
def test_connections_at_rest_keep_nothing_of_long_heads(
    pod: Pod, tmp_path: Path, path: str, who: str, more_lines: str
) -> None:
    with running(pod, SERVER, "original", str(PORT)) as original:
        assert next_line(original.stdout) == "ready"
        with session(pod, tmp_path, {"mode": "steal", "http_filter": {"path_filter": "^/mine$"}}) as agent:
            before = memory(agent)
            count = str(WITH_LONG_HEADS)
            with running(pod, CLIENT, count, count, who, path, str(COOKIE_BYTES), more_lines) as client:
                while (said := next_line(client.stdout)).startswith("at "):
                    pass  # it goes on
                assert said == f"open {count}"
                assert memory(agent) - before <= LONG_HEADS_LIMIT


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_ten_thousand_sockets_of_a_program_know_their_addresses(pod: Pod, interceptor: str) -> None:
    options = ["-t", f"pid/{pod.pid}", "--interceptor", interceptor, "--progress", "off"]
    program = [sys.executable, "-c", PROGRAM, str(CONNECTIONS)]
    with running(pod, SERVER, "original", str(PORT)) as original:
        assert next_line(original.stdout) == "ready"
        done = subprocess.run(
            [*inpod(), "exec", *options, "--", *program],
            capture_output=True,
            text=True,
            timeout=INTERCEPTED_LIMIT_S,
        )
    assert done.stdout == f"{CONNECTIONS} {CONNECTIONS} {{'10.77.0.1'}} {{('10.77.0.1', {PORT})}}\n", done.stderr
