"""Incoming UDP of whole sessions: real programs in the pod's place, both interceptors, both modes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.languages import command
from tests.netns.test_filter import event
from tests.netns.test_udp_agent import ADDRESSES, CLIENT, PORT
from tests.netns.test_udp_agent import original as original  # the fixture
from tests.processes import LIMIT_S, end, next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

ECHO = f"""
import socket
sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sock.bind(("::", {PORT}))
print(*sock.getsockname()[:2], flush=True)
while True:
    data, sender = sock.recvfrom(65536)
    print(data[:20].decode(), sender[0].removeprefix("::ffff:"), sender[1], flush=True)
    sock.sendto(b"program " + data, sender)
"""

QUESTIONS = """
import random, socket
for _ in range(20):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        while True:
            try: sock.bind(("0.0.0.0", random.randrange(1024, 65536)))
            except OSError: continue
            break
        sock.sendto(b"\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3api\\3svc\\4test\\0\\0\\1\\0\\1", ("127.0.0.1", 53))
        assert sock.recv(600).endswith(socket.inet_aton("10.2.0.2"))
"""
"""As hickory-dns (Rust, Deno) and Twisted ask: each time from another port, so that nobody can guess it."""

NODE = f"""
const sock = require("dgram").createSocket("udp4");
sock.on("message", (text, from) => {{
  console.log(String(text), from.address, from.port);
  sock.send("program " + text, from.port, from.address);
}});
sock.bind({PORT}, () => console.log(sock.address().address, sock.address().port));
"""

GO = f"""
package main
import ("fmt"; "net")
func main() {{
    sock, err := net.ListenPacket("udp", ":{PORT}")
    if err != nil {{ panic(err) }}
    fmt.Println("::", sock.LocalAddr().(*net.UDPAddr).Port)
    room := make([]byte, 65536)
    for {{
        n, from, err := sock.ReadFrom(room)
        if err != nil {{ panic(err) }}
        at := from.(*net.UDPAddr)
        fmt.Println(string(room[:n]), at.IP, at.Port)
        sock.WriteTo(append([]byte("program "), room[:n]...), from)
    }}
}}
"""

JAVA = f"""
import java.net.*;
class Main {{
    public static void main(String[] words) throws Exception {{
        var sock = new DatagramSocket({PORT});
        System.out.println(":: " + sock.getLocalPort());
        while (true) {{
            var packet = new DatagramPacket(new byte[65536], 65536);
            sock.receive(packet);
            var text = new String(packet.getData(), 0, packet.getLength());
            System.out.println(text + " " + packet.getAddress().getHostAddress() + " " + packet.getPort());
            var answer = ("program " + text).getBytes();
            sock.send(new DatagramPacket(answer, answer.length, packet.getSocketAddress()));
        }}
    }}
}}
"""


@contextmanager
def serving(pod: Pod, folder: Path, interceptor: str, mode: str, *command: str) -> Iterator["subprocess.Popen[str]"]:
    """A session whose program has told where it is bound, and whose port is subscribed."""
    file = folder / "inpod.json"
    file.write_text(json.dumps({"interceptor": interceptor, "feature": {"network": {"incoming": mode}}}))
    options = ["-t", f"pid/{pod.pid}", "-f", str(file), "--progress", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "inpod", "exec", *options, "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            found = event(process, "PortSubscribed")
            assert (found["port"], found["protocol"], found["mode"]) == (PORT, "udp", mode)
            ip, port = next_line(process.stdout).split()
            assert (ip.strip(":0."), port) == ("", str(PORT))
            yield process
        finally:
            end(process)


def ask(pod: Pod, ip: str, *texts: str, size: int = 0) -> tuple[list[str], list[object]]:
    inside = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", CLIENT, json.dumps([ip, PORT, texts, size])]
    found, own = json.loads(
        subprocess.run(inside, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True).stdout
    )
    return found, own


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_stolen_datagrams_are_the_programs(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    with serving(pod, tmp_path, interceptor, "steal", sys.executable, "-c", ECHO) as process:
        for ip in ADDRESSES:
            found, own = ask(pod, ip, "one", "two")
            assert found == ["program one", "program two"]
            for text in ("one", "two"):
                assert next_line(process.stdout) == f"{text} {own[0]} {own[1]}"
        assert ask(pod, "10.77.0.1", "large", size=40_000)[0] == ["program " + "large".ljust(40_000, ".")]
    assert ask(pod, "10.77.0.1", "after")[0] == ["original after"]


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_mirrored_datagrams_come_too(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    with serving(pod, tmp_path, interceptor, "mirror", sys.executable, "-c", ECHO) as process:
        for ip in ADDRESSES:
            found, own = ask(pod, ip, "one", "two")
            assert found == ["original one", "original two"]
            for text in ("one", "two"):
                assert next_line(process.stdout) == f"{text} {own[0]} {own[1]}"


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("language", ["node", "java", "go"])
def test_servers_of_other_languages(pod: Pod, tmp_path: Path, language: str) -> None:
    program = command(language, tmp_path, {"node": NODE, "java": JAVA, "go": GO}[language])
    with serving(pod, tmp_path, "auto", "steal", *program) as process:
        found, own = ask(pod, "10.77.0.1", "one", "two")
        assert found == ["program one", "program two"]
        for text in ("one", "two"):
            assert next_line(process.stdout).replace("::ffff:", "") == f"{text} {own[0]} {own[1]}"


@pytest.mark.usefixtures("original")
@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_a_closed_socket_gives_the_port_back_and_another_takes_it(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    code = f"""
import socket, sys
for name in "first", "second":
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", {PORT}))
    print(*sock.getsockname(), flush=True)
    data, sender = sock.recvfrom(100)
    sock.sendto(name.encode(), sender)
    sock.close()
    sys.stdin.readline()
print("done", flush=True)
"""
    file = tmp_path / "inpod.json"
    file.write_text(json.dumps({"interceptor": interceptor, "feature": {"network": {"incoming": "steal"}}}))
    options = ["-t", f"pid/{pod.pid}", "-f", str(file), "--progress", "off"]
    with subprocess.Popen(
        [sys.executable, "-m", "inpod", "exec", *options, "--", sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            assert process.stdin is not None
            for name in ("first", "second"):
                assert next_line(process.stdout) == f"0.0.0.0 {PORT}"
                assert ask(pod, "10.77.0.1", "hello")[0] == [name]
                while ask_or_nothing(pod) != ["original x"]:
                    pass
                process.stdin.write("\n")
                process.stdin.flush()
            assert next_line(process.stdout) == "done"
        finally:
            end(process)


def ask_or_nothing(pod: Pod) -> list[str]:
    try:
        return ask(pod, "10.77.0.1", "x")[0]
    except subprocess.CalledProcessError:
        return []


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_ports_that_are_bound_for_a_question_are_not_told(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    # The first port that is told of is that of the server.
    with serving(pod, tmp_path, interceptor, "steal", sys.executable, "-c", QUESTIONS + ECHO) as process:
        assert ask(pod, "10.77.0.1", "one")[0] == ["program one"]
        assert next_line(process.stdout).startswith("one ")
