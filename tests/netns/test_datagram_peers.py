"""UDP sockets that are not connected and have several peers in the pod; real programs, both interceptors."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.languages import command
from tests.netns.session import ROOT, output_of
from tests.processes import next_line

pytestmark = [
    pytest.mark.usefixtures("interceptor", "servers"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root"),
]

PORTS = (7001, 7002, 7003)

SERVERS = """
import select, socket, sys
poll, all = select.poll(), {}
for ip in "10.77.0.1", "fd77::1":
    for port in map(int, sys.argv[1:]):
        sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((ip, port))
        all[sock.fileno()] = sock
        poll.register(sock, select.POLLIN)
print("ready", flush=True)
while True:
    for number, _ in poll.poll():
        data, sender = all[number].recvfrom(2000)
        all[number].sendto(b"%d %b" % (all[number].getsockname()[1], data), sender)
"""
"""Each answers with its port and what it was told."""

NODE = """
const sock = require("dgram").createSocket("udp4");
const ports = process.argv.slice(1).map(Number);
let left = ports.length;
sock.on("message", (text, from) => { console.log(from.address, from.port, String(text)); if (!--left) sock.close(); });
ports.forEach((port, index) => sock.send("node " + index, port, "10.77.0.1"));
"""

JAVA = """
import java.net.*;
class Main {
    public static void main(String[] ports) throws Exception {
        var sock = new DatagramSocket();
        sock.setSoTimeout(20000);
        for (int i = 0; i < ports.length; i++) {
            var text = ("java " + i).getBytes();
            sock.send(new DatagramPacket(text, text.length, InetAddress.getByName("10.77.0.1"), Integer.parseInt(ports[i])));
        }
        for (var port : ports) {
            var packet = new DatagramPacket(new byte[100], 100);
            sock.receive(packet);
            var from = packet.getAddress().getHostAddress() + " " + packet.getPort();
            System.out.println(from + " " + new String(packet.getData(), 0, packet.getLength()));
        }
    }
}
"""

GO = """
package main
import ("fmt"; "net"; "os"; "strconv"; "time")
func main() {
    sock, err := net.ListenPacket("udp", ":0")
    if err != nil { panic(err) }
    sock.SetDeadline(time.Now().Add(20 * time.Second))
    for i, port := range os.Args[1:] {
        number, _ := strconv.Atoi(port)
        if _, err := sock.WriteTo([]byte(fmt.Sprint("go ", i)), &net.UDPAddr{IP: net.ParseIP("10.77.0.1"), Port: number}); err != nil { panic(err) }
    }
    for range os.Args[1:] {
        room := make([]byte, 100)
        n, from, err := sock.ReadFrom(room)
        if err != nil { panic(err) }
        at := from.(*net.UDPAddr)
        fmt.Println(at.IP, at.Port, string(room[:n]))
    }
}
"""


@pytest.fixture(scope="module")
def servers(pod: Pod) -> Iterator[None]:
    """UDP servers in the pod's network."""
    inside = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, "-c", SERVERS, *map(str, PORTS)]
    with subprocess.Popen(inside, stdout=subprocess.PIPE, text=True) as process:
        assert next_line(process.stdout) == "ready"
        yield
        process.kill()


@pytest.mark.parametrize(("family", "ip"), [("4", "10.77.0.1"), ("6", "fd77::1"), ("6", "::ffff:10.77.0.1")])
def test_every_call_knows_its_peers(pod: Pod, tmp_path: Path, family: str, ip: str) -> None:
    subprocess.run(["gcc", "-O1", "-Wall", "-o", tmp_path / "peers", ROOT / "tests/programs/peers.c"], check=True)
    servers = [word for port in PORTS for word in (ip, str(port))]
    *found, peer = output_of(f"pid/{pod.pid}", str(tmp_path / "peers"), family, *servers).splitlines()
    expected = [
        f"{received} {ip} {port} 1 {port} {sent} {index}"
        for received, sent in (("from", "sendto"), ("msg", "sendmsg"), ("once", "sendmmsg"), ("mmsg", "sendmmsg"))
        for index, port in enumerate(PORTS)
    ]
    assert sorted(found) == sorted(expected)
    assert peer == f"peer {errno.ENOTCONN}"


@pytest.mark.parametrize(
    ("family", "ip", "kinds"),
    [("INET", "10.77.0.1", [(0, 1), (0, 2), (0, 8), (1, 29)]), ("INET6", "fd77::1", [(1, 29), (41, 50)])],
)
def test_control_data_come_along(pod: Pod, family: str, ip: str, kinds: list[tuple[int, int]]) -> None:
    """What this machine's kernel says of a datagram: its time, where it came to, its TTL, its TOS.

    In IPv6 the relay is at 127.0.0.1 too, so there is less to say, and options of IPv6 that are sent along say nothing.
    """
    code = f"""
import errno, socket, struct
sock = socket.socket(socket.AF_{family}, socket.SOCK_DGRAM)
v6 = sock.family == socket.AF_INET6
wanted = [(socket.SOL_SOCKET, 29), *([(41, 49), (41, 51), (41, 66)] if v6 else [(0, 8), (0, 12), (0, 13)])]
for level, option in wanted:  # SO_TIMESTAMP; PKTINFO, HOPLIMIT or TTL, TCLASS or TOS
    sock.setsockopt(level, option, 1)
to = ({ip!r}, 7001)
sock.sendmsg([b"pod"], [(41, 52, struct.pack("i", 7)) if v6 else (0, 2, struct.pack("i", 7))], 0, to)
data, control, flags, sender = sock.recvmsg(100, 1000)
told = {{(level, kind): value for level, kind, value in control}}
print(data, sender[:2] == to, flags, sorted(told))
sock.sendto(b"pod", to)
data, control, flags, sender = sock.recvmsg(3, 20)
print(data, bool(flags & socket.MSG_TRUNC), bool(flags & socket.MSG_CTRUNC))
try:
    sock.sendmsg([b"pod"], [(41, 52, b"1") if v6 else (0, 2, b"1")], 0, to)
except OSError as error:
    print(errno.errorcode[error.errno])
try:
    sock.recvmsg(100, 1000, socket.MSG_ERRQUEUE)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    found = output_of(f"pid/{pod.pid}", sys.executable, "-c", code).splitlines()
    refused = ["EINVAL"] if family == "INET" else []
    assert found == [f"b'7001 pod' True 0 {kinds}", "b'700' True True", *refused, "EAGAIN"]


def test_one_call_sends_to_the_pod_and_to_this_machine(pod: Pod) -> None:
    code = """
import ctypes, socket, struct
server, sock = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
keep, messages = [], b""
for ip, port in (server.getsockname(), ("10.77.0.1", 7001), ("10.77.0.1", 7002)):
    name = ctypes.create_string_buffer(struct.pack("H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(ip) + bytes(8), 16)
    text = ctypes.create_string_buffer(b"hello")
    part = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(text), 5), 16)
    keep += [name, text, part]
    messages += struct.pack("PI4xPNPNi4xI4x", ctypes.addressof(name), 16, ctypes.addressof(part), 1, 0, 0, 0, 0)
print(ctypes.CDLL(None).sendmmsg(sock.fileno(), messages, 3, 0))
print(server.recv(100), sorted(sock.recvfrom(100) for _ in range(2)))
"""
    found = output_of(f"pid/{pod.pid}", sys.executable, "-c", code).splitlines()
    assert found == [
        "3",
        "b'hello' [(b'7001 hello', ('10.77.0.1', 7001)), (b'7002 hello', ('10.77.0.1', 7002))]",
    ]


@pytest.mark.parametrize(
    ("interceptor", "language"),
    [("layer", "node"), ("layer", "java"), ("tracer", "node"), ("tracer", "java"), ("tracer", "go")],
    indirect=["interceptor"],
)
def test_languages_know_their_peers(pod: Pod, tmp_path: Path, interceptor: str, language: str) -> None:
    program = command(language, tmp_path, {"node": NODE, "java": JAVA, "go": GO}[language])
    found = output_of(f"pid/{pod.pid}", *program, *map(str, PORTS)).splitlines()
    assert sorted(found) == [f"10.77.0.1 {port} {port} {language} {index}" for index, port in enumerate(PORTS)]


def test_a_service_of_this_machine_stays_one(pod: Pod) -> None:
    code = """
import socket
server, client = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 0))
client.sendto(b"pod", ("10.77.0.1", 7001))
assert client.recvfrom(100) == (b"7001 pod", ("10.77.0.1", 7001))
client.sendto(b"here", server.getsockname())
data, sender = server.recvfrom(100)
server.sendto(b"back", sender)
print(data.decode(), *client.recvfrom(100), server.getsockname()[1])
"""
    data, answer, sender, port = (
        output_of(f"pid/{pod.pid}", sys.executable, "-c", code).strip().replace("('127.0.0.1', ", "").split(" ")
    )
    assert (data, answer, sender.rstrip(")")) == ("here", "b'back'", port)
