"""What a program says in the moment of its end reaches the far end, as it does from a pod."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.session import output_of
from tests.netns.test_filter import event, warning
from tests.processes import LIMIT_S, end, next_line
from tests.unit.launch.test_job_control import Shell
from tests.unit.launch.test_job_control import shell as shell  # the fixture

pytestmark = pytest.mark.usefixtures("interceptor")

SIZE = 12_000_000
"""More than the kernel's buffers and the tunnel's window hold."""

DATAGRAMS = 200
TIMES = 3

COLLECTOR = """
import socket, sys, threading, time
tcp, udp = socket.create_server(("10.77.0.1", 2003)), socket.socket(type=socket.SOCK_DGRAM)
udp.bind(("10.77.0.1", 8125))
def datagrams():
    while data := udp.recv(2000):
        print(data.decode(), flush=True)
threading.Thread(target=datagrams, daemon=True).start()
print("ready", flush=True)
while True:
    connection, _ = tcp.accept()
    size = 0
    try:
        while data := connection.recv(65536, socket.MSG_WAITALL):
            size += len(data)
            time.sleep(float(sys.argv[1]))
        print(size, flush=True)
    except OSError as error:
        print(size, error, flush=True)
"""

UPLOAD = f"""
import os, socket
sock = socket.create_connection(("10.77.0.1", 2003))
sock.sendall(b"x" * {SIZE})
os._exit(0)
"""

ASK = """
import socket, sys, time
sock = socket.create_connection(("10.77.0.1", 8080), 20)
sock.sendall(b"GET / HTTP/1.1\\r\\nHost: pod\\r\\n\\r\\n")
time.sleep(0.3)
size = 0
while data := sock.recv(65536):
    size += len(data)
print(size)
"""

SERVE_ONCE = """
import os, socket, sys
listener = socket.create_server(("0.0.0.0", 8080))
connection, _ = listener.accept()
connection.recv(65536)
body = b"x" * int(sys.argv[1])
connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %8d\\r\\n\\r\\n" % len(body) + body)
os._exit(7)
"""
ANSWER_ONCE = """
import os, socket, sys
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.bind(("0.0.0.0", 5300))
data, sender = sock.recvfrom(100)
for number in range(int(sys.argv[1])):
    sock.sendto(b"%d" % number, sender)
os._exit(7)
"""

ASK_BY_UDP = """
import socket, sys
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.settimeout(10)
sock.connect(("10.77.0.1", 5300))
sock.send(b"?")
print(len({sock.recv(100) for _ in range(int(sys.argv[1]))}))
"""

HEAD_SIZE = len("HTTP/1.1 200 OK\r\nContent-Length: 12345678\r\n\r\n")


@contextmanager
def collector(pod: Pod, pause_s: float = 0) -> Iterator["subprocess.Popen[str]"]:
    """Tells the size of each connection at its end, and each datagram; rests for a while after each 64 KiB."""
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", COLLECTOR, str(pause_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert next_line(process.stdout) == "ready"
            yield process
        finally:
            process.kill()


def test_bytes_sent_just_before_the_end_arrive(pod: Pod) -> None:
    with collector(pod) as process:
        for _ in range(TIMES):
            output_of(f"pid/{pod.pid}", sys.executable, "-c", UPLOAD)
            assert next_line(process.stdout) == str(SIZE)


def test_bytes_arrive_also_where_the_far_end_is_slow(pod: Pod) -> None:
    """It takes them for longer than a far end may be still, but it is not still."""
    with collector(pod, pause_s=0.08) as process:
        output_of(f"pid/{pod.pid}", sys.executable, "-c", UPLOAD)
        assert next_line(process.stdout) == str(SIZE)


def test_control_c_leaves_what_is_still_on_its_way(pod: Pod, tmp_path: Path, shell: Shell, interceptor: str) -> None:
    upload = tmp_path / "upload.py"
    upload.write_text(UPLOAD)
    with collector(pod, pause_s=0.08) as process:
        inpod = f"{sys.executable} -m inpod exec -t pid/{pod.pid} --interceptor {interceptor}"
        shell.type(f"{inpod} -- {sys.executable} {upload}; echo ended-$?-\n")
        shell.expect("still on its way")
        shell.type("\x03")
        shell.expect("the rest is lost")
        shell.expect("ended-0-")
        assert int(next_line(process.stdout).split()[0]) < SIZE


def test_datagrams_sent_just_before_the_end_arrive(pod: Pod) -> None:
    code = f"""
import os, socket
sock = socket.socket(type=socket.SOCK_DGRAM)
sock.connect(("10.77.0.1", 8125))
for number in range({DATAGRAMS}):
    sock.send(b"%d" % number)
os._exit(0)
"""
    with collector(pod) as process:
        for _ in range(TIMES):
            output_of(f"pid/{pod.pid}", sys.executable, "-c", code)
            assert [next_line(process.stdout) for _ in range(DATAGRAMS)] == [str(n) for n in range(DATAGRAMS)]


def test_an_answer_by_udp_given_just_before_the_end_arrives(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    config = {"interceptor": interceptor, "feature": {"network": {"incoming": "steal"}}}
    (tmp_path / "inpod.json").write_text(json.dumps(config))
    options = ["-t", f"pid/{pod.pid}", "-f", str(tmp_path / "inpod.json"), "--progress", "json"]
    program = [sys.executable, "-c", ANSWER_ONCE, str(DATAGRAMS)]
    for _ in range(TIMES):
        with subprocess.Popen(
            [sys.executable, "-m", "inpod", "exec", *options, "--", *program], stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                event(process, "PortSubscribed")
                command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", ASK_BY_UDP, str(DATAGRAMS)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
                assert done.stdout == f"{DATAGRAMS}\n"
                assert process.wait(LIMIT_S) == 7
            finally:
                end(process)


@pytest.mark.parametrize("http_filter", [None, {"path_filter": "/"}], ids=["whole", "filtered"])
def test_an_answer_given_just_before_the_end_arrives(
    pod: Pod, tmp_path: Path, interceptor: str, http_filter: object
) -> None:
    incoming = {"mode": "steal"} | ({"http_filter": http_filter} if http_filter else {})
    config = {"interceptor": interceptor, "feature": {"network": {"incoming": incoming}}}
    (tmp_path / "inpod.json").write_text(json.dumps(config))
    options = ["-t", f"pid/{pod.pid}", "-f", str(tmp_path / "inpod.json"), "--progress", "json"]
    program = [sys.executable, "-c", SERVE_ONCE, str(SIZE)]
    for _ in range(TIMES):
        with subprocess.Popen(
            [sys.executable, "-m", "inpod", "exec", *options, "--", *program],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
        ) as process:
            try:
                event(process, "PortSubscribed")
                command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", ASK]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S)
                assert done.stdout == f"{SIZE + HEAD_SIZE}\n"
                assert process.wait(LIMIT_S) == 7
            finally:
                end(process)


def test_who_never_reads_does_not_hold_up_the_end_for_ever(pod: Pod, tmp_path: Path) -> None:
    options = ["-t", f"pid/{pod.pid}", "--steal", "--progress", "json"]
    program = [sys.executable, "-c", SERVE_ONCE, str(SIZE // 4)]
    deaf = ASK.replace("time.sleep(0.3)", "print('asked', flush=True); sys.stdin.read()")
    with ExitStack() as undo:
        inpod = subprocess.Popen(
            [sys.executable, "-m", "inpod", "exec", *options, "--", *program], stderr=subprocess.PIPE, text=True
        )
        undo.callback(end, inpod)
        event(inpod, "PortSubscribed")
        command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", deaf]
        client = undo.enter_context(
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        )
        undo.callback(client.kill)
        assert next_line(client.stdout) == "asked"
        assert "the rest is lost" in warning(inpod)
        assert inpod.wait(LIMIT_S) == 7


def test_who_holds_a_connection_and_stays_does_not_hold_up_the_end(pod: Pod) -> None:
    code = """
import os, socket
sock = socket.create_connection(("10.77.0.1", 2003))
sock.send(b"x")
if os.fork() == 0:
    os.close(1); os.close(2)
    sock.recv(1)
print("over")
"""
    with collector(pod) as process:
        assert output_of(f"pid/{pod.pid}", sys.executable, "-c", code) == "over\n"
        assert next_line(process.stdout).startswith("1")
