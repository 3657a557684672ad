"""Connections and names of a real program, decided in the pod."""

import json
from typing import Any

import pytest

from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT, RESET_PORT
from tests.netns.session import python_in

pytestmark = pytest.mark.usefixtures("interceptor")

FAILURES = [
    ("127.0.0.1", 9, "ECONNREFUSED"),
    ("::1", 9, "ECONNREFUSED"),
    ("10.66.0.1", 80, "EHOSTUNREACH"),
    ("fd66::1", 80, "EHOSTUNREACH"),
    ("10.65.0.1", 80, "EACCES"),
    ("10.64.0.1", 80, "ENETUNREACH"),
    ("10.77.0.9", 80, "ETIMEDOUT"),
]

HEAD = """
import errno, hashlib, json, os, select, socket, sys, threading, time
ports = json.loads(sys.argv[1])
def family(ip): return socket.AF_INET6 if ":" in ip else socket.AF_INET
def tell(value): print(json.dumps(value))
"""


def ask(pod: Pod, code: str, value: object = None) -> Any:
    """Return what `code` tells in the pod's place."""
    return json.loads(python_in(f"pid/{pod.pid}", HEAD + code, json.dumps(value)))


def test_blocking_connect_fails_as_in_the_pod(pod: Pod) -> None:
    code = """
results = []
for ip, port, _ in ports:
    with socket.socket(family(ip)) as sock:
        results.append(errno.errorcode.get(sock.connect_ex((ip, port))))
tell(results)
"""
    assert ask(pod, code, FAILURES) == [wanted for _, _, wanted in FAILURES]


def test_nonblocking_connect_is_in_progress_until_the_pod_decided(pod: Pod) -> None:
    code = """
results = []
for ip, port, _ in ports:
    with socket.socket(family(ip)) as sock:
        sock.setblocking(False)
        poll = select.epoll()
        poll.register(sock, select.EPOLLOUT | select.EPOLLET)
        first = errno.errorcode.get(sock.connect_ex((ip, port)))
        woken = bool(poll.poll(10))
        results.append([first, woken, errno.errorcode.get(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))])
tell(results)
"""
    assert ask(pod, code, FAILURES) == [["EINPROGRESS", True, wanted] for _, _, wanted in FAILURES]


def test_silent_address_stays_in_progress(pod: Pod) -> None:
    code = """
sock = socket.socket()
sock.setblocking(False)
sock.connect_ex(("10.77.0.9", 80))
poll = select.poll()
poll.register(sock, select.POLLOUT)
tell(poll.poll(300))
"""
    assert ask(pod, code) == []


@pytest.mark.parametrize("ip", ["127.0.0.1", "::1", "10.77.0.1", "fd77::1", "::ffff:127.0.0.1"])
def test_addresses_are_those_of_the_pod(pod: Pod, ip: str) -> None:
    code = """
ip, port = ports
with socket.socket(family(ip)) as sock:
    sock.connect((ip, port))
    tell([sock.getpeername()[:2], sock.getsockname()[0]])
"""
    peer, local = ask(pod, code, [ip, ECHO_PORT])
    assert peer == [ip, ECHO_PORT]
    assert local == ip


@pytest.mark.parametrize("ip", ["10.77.0.1", "fd77::1"])
def test_address_that_only_the_pod_has_is_a_source(pod: Pod, ip: str) -> None:
    """As who listens on a chosen address binds what he calls from to the same."""
    code = """
ip, port = ports
results = []
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    with socket.socket(family(ip), kind) as sock:
        sock.bind((ip, 0))
        results.append([sock.getsockname()[0], sock.getsockname()[1] != 0])
        if kind == socket.SOCK_STREAM:
            sock.connect((ip, port))
            sock.sendall(b"x")
            results.append([sock.getsockname()[0], sock.recv(1).decode()])
        else:
            sock.settimeout(10)
            query = bytes([0, 7, 1, 0, 0, 1]) + bytes(6) + b"\\3web\\7default\\4test\\0\\0\\1\\0\\1"
            sock.sendto(query, ("::1" if ":" in ip else "127.0.0.1", 53))
            results.append(sock.recvfrom(999)[0][:2].hex())
tell(results)
"""
    assert ask(pod, code, [ip, ECHO_PORT]) == [[ip, True], [ip, "x"], [ip, True], "0007"]


def test_v6_only_socket_connects(pod: Pod) -> None:
    code = """
with socket.socket(socket.AF_INET6) as sock:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("::1", 0))
    sock.connect(("fd77::1", ports))
    sock.sendall(b"x")
    tell([sock.recv(1).decode(), sock.getpeername()[0]])
"""
    assert ask(pod, code, ECHO_PORT) == ["x", "fd77::1"]


def test_bytes_are_exact_both_ways_with_a_slow_reader(pod: Pod) -> None:
    code = """
data = bytes(range(251)) * (16 * 1024 * 1024 // 251)
sock = socket.create_connection(("127.0.0.1", ports))
def send():
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
sender = threading.Thread(target=send)
sender.start()
digest, size = hashlib.sha256(), 0
while piece := sock.recv(1 << 20 if size % 3 else 997):
    digest.update(piece)
    size += len(piece)
    if size < 100_000:
        time.sleep(0.001)
sender.join()
tell([size == len(data), digest.hexdigest() == hashlib.sha256(data).hexdigest()])
"""
    assert ask(pod, code, ECHO_PORT) == [True, True]


def test_reset_of_the_pod_is_a_reset_here(pod: Pod) -> None:
    code = """
sock = socket.create_connection(("127.0.0.1", ports))
sock.sendall(b"x")
try:
    tell(sock.recv(1).decode())
except ConnectionResetError:
    tell("reset")
"""
    assert ask(pod, code, RESET_PORT) == "reset"


def test_many_connects_at_once(pod: Pod) -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
def call(i):
    if i % 4 == 0:
        return socket.socket().connect_ex(("127.0.0.1", 9)) == errno.ECONNREFUSED
    with socket.create_connection(("127.0.0.1", ports)) as sock:
        sock.sendall(b"%d" % i)
        return sock.recv(100) == b"%d" % i
with ThreadPoolExecutor(32) as threads:
    tell(sum(threads.map(call, range(800))))
"""
    assert ask(pod, code, ECHO_PORT) == 800


def test_socket_that_is_closed_while_connecting_leaves_nothing(pod: Pod) -> None:
    code = """
for _ in range(50):
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", ports))
    sock.close()
with socket.create_connection(("127.0.0.1", ports)) as sock:
    sock.sendall(b"x")
    tell(sock.recv(1).decode())
"""
    assert ask(pod, code, ECHO_PORT) == "x"


def test_own_listener_is_reached_here(pod: Pod) -> None:
    code = """
results = []
for bound, called in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "10.77.0.1"), ("::", "::1"), ("::", "127.0.0.1"),
                      ("10.77.0.1", "10.77.0.1"), ("fd77::1", "fd77::1")]:
    with socket.create_server((bound, 0), family=family(bound), dualstack_ipv6=bound == "::") as listener:
        port = listener.getsockname()[1]
        with socket.socket(family(called)) as sock:
            sock.connect((called, port))
            served, _ = listener.accept()
            served.sendall(b"own")
            results.append(sock.recv(3).decode())
    # Closed, it is the pod's address again.
    results.append(errno.errorcode.get(socket.socket(family(called)).connect_ex((called, port))))
tell(results)
"""
    assert ask(pod, code) == ["own", "ECONNREFUSED"] * 6


def test_names_are_the_pods(pod: Pod) -> None:
    code = """
def look_up(name, kind=0):
    try:
        return [a[4][0] for a in socket.getaddrinfo(name, 80, family=kind, type=socket.SOCK_STREAM)]
    except socket.gaierror as error:
        return error.errno
tell([look_up("web", socket.AF_INET), look_up("api"), look_up("inhosts", socket.AF_INET), look_up("nope.test"),
      look_up("v6only.test", socket.AF_INET), look_up("127.0.0.7"), socket.gethostbyname("api")])
"""
    web, api, hosts, nope, nodata, numeric, classic = ask(pod, code)
    assert (web, api, hosts, numeric, classic) == (["10.2.0.1"], ["10.2.0.2"], ["10.1.1.1"], ["127.0.0.7"], "10.2.0.2")
    assert nope == -2  # EAI_NONAME
    assert nodata in (-5, -2)  # EAI_NODATA
