"""The pod's connections in a real program."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.netns.conftest import Pod
from tests.netns.session import in_network_of, line, session

pytestmark = pytest.mark.usefixtures("interceptor")

SERVER = """
import json, select, socket, sys
def say(*values): print(json.dumps(values), flush=True)
listeners = []
for host, port in json.loads(sys.argv[1]):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners.append(socket.create_server((host, port), family=family, backlog=64))
say("listening", *[listener.getsockname()[:2] for listener in listeners])
while True:
    for listener in select.select([*listeners, sys.stdin], [], [])[0]:
        if listener is sys.stdin:
            match sys.stdin.readline().strip():
                case "close":
                    for each in listeners: each.close()
                    listeners = []
                    say("closed")
                case "again":
                    say("again")
                case "":
                    sys.exit(0)
            continue
        sock, peer = listener.accept()
        heard = b""
        while more := sock.recv(65536):
            heard += more
        say("heard", heard[:100].decode(), peer[:2], sock.getpeername()[:2], sock.getsockname()[:2])
        sock.sendall(b"program heard " + heard)
        sock.close()
"""

CLIENT = """
import json, socket, sys
host, port, text = json.loads(sys.argv[1])
with socket.create_connection((host, port), 10) as sock:
    sock.sendall(text.encode())
    sock.shutdown(socket.SHUT_WR)
    heard = b""
    while more := sock.recv(65536):
        heard += more
    print(json.dumps([sock.getsockname()[:2], heard.decode()]))
"""


@contextmanager
def server(pod: Pod, *places: tuple[str, int], mode: str = "steal") -> Iterator["subprocess.Popen[str]"]:
    """Run SERVER in the pod's place; its listeners are there. It says how what it heard begins, and answers with the whole."""
    with session(f"pid/{pod.pid}", sys.executable, "-c", SERVER, json.dumps(places), mode=mode) as process:
        assert json.loads(line(process)) == ["listening", *map(list, places)]
        yield process


def call(pod: Pod, host: str, port: int, text: str = "hello") -> tuple[list[object], str]:
    """Call from inside the pod's network; return the client's address and what it heard."""
    address, heard = json.loads(in_network_of(pod.pid, CLIENT, json.dumps([host, port, text])))
    return address, heard


def events(process: "subprocess.Popen[str]") -> str:
    """End a session's program, and return the events of the session."""
    _, error = process.communicate("", 30)
    assert process.returncode == 0, error
    return error


def test_stolen_connection_has_the_real_addresses(pod: Pod) -> None:
    with server(pod, ("0.0.0.0", 8080)) as process:
        address, heard = call(pod, "10.77.0.1", 8080)
        assert heard == "program heard hello"
        assert json.loads(line(process)) == ["heard", "hello", address, address, ["10.77.0.1", 8080]]
        assert "PortSubscribed(port=8080, mode='steal', local='127.0.0.1:" in events(process)


def test_both_versions_of_ip_share_a_port(pod: Pod) -> None:
    with server(pod, ("0.0.0.0", 80), ("::", 80)) as process:
        for host in ("10.77.0.1", "fd77::1"):
            address, heard = call(pod, host, 80)
            assert heard == "program heard hello"
            assert json.loads(line(process)) == ["heard", "hello", address, address, [host, 80]]
        assert events(process).count("PortSubscribed") == 1


def test_version_that_nobody_listens_on_is_refused(pod: Pod) -> None:
    with server(pod, ("0.0.0.0", 8081)):
        with pytest.raises(subprocess.CalledProcessError):
            call(pod, "fd77::1", 8081)
        assert call(pod, "10.77.0.1", 8081)[1] == "program heard hello"


def test_port_that_is_taken_here_is_replaced_and_said(pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with server(pod, ("0.0.0.0", port)) as process:
            _, heard = call(pod, "10.77.0.1", port)
            assert heard == "program heard hello"
            assert json.loads(line(process))[4] == ["10.77.0.1", port]
            text = events(process)
    assert re.search(rf"Port {port} is taken on this machine: the program listens on 127\.0\.0\.1:\d+", text)
    assert text.count("PortSubscribed") == 1


def test_closed_listener_gives_the_port_back(pod: Pod) -> None:
    with server(pod, ("0.0.0.0", 8082)) as process:
        assert call(pod, "10.77.0.1", 8082)[1] == "program heard hello"
        line(process)
        assert process.stdin is not None
        process.stdin.write("close\n")
        assert json.loads(line(process)) == ["closed"]
        code = """
import errno, socket, sys, time
end = time.monotonic() + 10
while socket.socket().connect_ex(("10.77.0.1", 8082)) != errno.ECONNREFUSED and time.monotonic() < end:
    time.sleep(0.05)
print(errno.errorcode[socket.socket().connect_ex(("10.77.0.1", 8082))])
"""
        assert in_network_of(pod.pid, code) == "ECONNREFUSED\n"


def test_mirrored_connection_is_a_copy(pod: Pod) -> None:
    original = """
import socket
with socket.create_server(("0.0.0.0", 8083)) as listener:
    print("ready", flush=True)
    while True:
        sock, _ = listener.accept()
        with sock:
            while more := sock.recv(65536):
                sock.sendall(b"original heard " + more)
"""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", original]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n"
            with server(pod, ("0.0.0.0", 8083), mode="mirror") as process:
                for text in ("one", "two"):
                    address, heard = call(pod, "10.77.0.1", 8083, text)
                    assert heard == f"original heard {text}"
                    assert json.loads(line(process)) == ["heard", text, address, address, ["10.77.0.1", 8083]]
        finally:
            running.kill()


def test_many_connections_at_once_keep_their_bytes(pod: Pod) -> None:
    client = """
import json, socket
from concurrent.futures import ThreadPoolExecutor
def one(i):
    text = f"{i} " * 5000
    with socket.create_connection(("10.77.0.1", 8084), 20) as sock:
        sock.sendall(text.encode())
        sock.shutdown(socket.SHUT_WR)
        heard = b""
        while more := sock.recv(65536):
            heard += more
    return heard.decode() == "program heard " + text
with ThreadPoolExecutor(16) as threads:
    print(sum(threads.map(one, range(200))))
"""
    with server(pod, ("0.0.0.0", 8084)) as process:
        seen: list[str] = []
        reader = threading.Thread(target=lambda: seen.extend(line(process) for _ in range(200)))
        reader.start()
        assert in_network_of(pod.pid, client) == "200\n"
        reader.join(30)
        peers = {tuple(json.loads(text)[2]) for text in seen}
        assert len(peers) == 200


def test_listener_of_a_child_that_is_started_again_keeps_the_port(pod: Pod) -> None:
    """As `uvicorn --reload` does: the worker goes, another one listens."""
    code = """
import os, socket, sys
for round in range(3):
    child = os.fork()
    if child == 0:
        with socket.create_server(("0.0.0.0", 8085)) as listener:
            print("listening", flush=True)
            sock, _ = listener.accept()
            sock.recv(100)
            sock.sendall(b"round %d" % round)
            sock.close()
        os._exit(0)
    os.waitpid(child, 0)
"""
    with session(f"pid/{pod.pid}", sys.executable, "-c", code, mode="steal") as process:
        for number in range(3):
            assert line(process) == "listening"
            assert call(pod, "10.77.0.1", 8085)[1] == f"round {number}"
        text = events(process)
    assert text.count("PortSubscribed") == 1
