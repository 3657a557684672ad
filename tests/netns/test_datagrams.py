"""UDP from the pod: the kernel's verdict there, and datagrams both ways; the program's end is a session's."""

import asyncio
import errno
import json
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inpod.protocol.agent import Address, ConnectUdp, encode, errno_of
from inpod.protocol.datagrams import MAX_DATAGRAM
from inpod.protocol.datagrams import encode as framed
from inpod.protocol.layer import Addr, Connect, decode_addr
from inpod.session.outgoing.connections import Outgoing
from inpod.session.relays import Relays
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import StreamRefused
from tests.netns.conftest import Pod, running_agent
from tests.netns.session import ROOT, python_in
from tests.processes import LIMIT_S, next_line

A, TXT = 1, 16
SO_COOKIE = 57
SERVER_PORT = 5353
SERVERS = ("10.77.0.1", "fd77::1")
SERVER_PROGRAM = ROOT / "tests/programs/dns_server.py"


@pytest.fixture(scope="module")
def servers(pod: Pod) -> Iterator[None]:
    """Name servers at SERVERS in the pod's network."""
    processes = []
    try:
        for ip in SERVERS:
            command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, str(SERVER_PROGRAM), ip, str(SERVER_PORT)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            processes.append(process)
            assert next_line(process.stdout) == "ready"
        yield
    finally:
        for process in processes:
            process.communicate(timeout=LIMIT_S)


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def value_of(answer: bytes, asked: bytes) -> bytes:
    """Return the value of the only record in an answer of `dns_server.py`."""
    at = len(asked) + 2 + 10
    assert answer[:2] == asked[:2]
    assert len(answer) == at + int.from_bytes(answer[at - 2 : at])
    return answer[at:]


@asynccontextmanager
async def program_in(
    pod: Pod, folder: Path, to: tuple[str, int], env: dict[str, str] | None = None
) -> AsyncIterator[socket.socket]:
    """A UDP socket as a program has it whose layer let the session connect it to `to`."""
    async with running_agent("--pid", str(pod.pid), env=env) as agent:
        table, tasks = Table(folder / "table"), Tasks()
        outgoing = Outgoing(lambda: agent.tunnel, table, lambda to: None, tasks, Relays())
        try:
            with socket.socket(socket.AF_INET6 if ":" in to[0] else socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(LIMIT_S)
                (cookie,) = struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
                reply = outgoing.connect(Connect(cookie, Addr.of(*to)), sock.dup().detach())
                assert reply[:4] == bytes(4)
                real = decode_addr(reply, 4)
                assert real is not None
                is_mapped = ":" in to[0] and ":" not in real.host
                sock.connect((f"::ffff:{real.host}" if is_mapped else real.host, real.port))
                yield sock
        finally:
            outgoing.close()
            await tasks.close()
            table.close()


async def asked(sock: socket.socket, query: bytes) -> bytes:
    sock.send(query)
    return await asyncio.to_thread(sock.recv, MAX_DATAGRAM + 1)


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("ip", SERVERS)
async def test_names_are_asked_from_the_pods_address(pod: Pod, tmp_path: Path, ip: str) -> None:
    async with program_in(pod, tmp_path, (ip, SERVER_PORT)) as sock:
        query = question("me.test", A)
        value = value_of(await asked(sock, query), query)
        assert socket.inet_ntop(sock.family, value) == ip
        # From one and the same socket of the pod, as from one of a program there.
        assert value_of(await asked(sock, query), query) == value


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("size", [1, 4000, 60000])
async def test_answers_arrive_whole(pod: Pod, tmp_path: Path, without_uvloop: dict[str, str], size: int) -> None:
    query = question(f"{size}.test", TXT)
    for env, folder in ((None, "one"), (without_uvloop, "other")):
        (tmp_path / folder).mkdir()
        async with program_in(pod, tmp_path / folder, (SERVERS[0], SERVER_PORT), env) as sock:
            value = value_of(await asked(sock, query), query)
            pieces = [value[at + 1 : at + 256] for at in range(0, len(value), 256)]
            assert b"".join(pieces) == b"t" * size


async def test_every_datagram_is_one_the_empty_too(pod: Pod, tmp_path: Path) -> None:
    async with program_in(pod, tmp_path, ("127.0.0.1", 53)) as sock:
        query = question("spoof.test", A)
        answers = [await asked(sock, query)]
        answers += [await asyncio.to_thread(sock.recv, 1000) for _ in range(4)]
    assert answers[:2] == [b"", b"garbage"]
    assert [answer[:2] for answer in answers[2:]] == [b"\x13\x34", b"\x12\x34", b"\x12\x34"]
    assert answers[4].endswith(socket.inet_aton("10.2.0.8"))


async def test_refusal_of_the_pod_reaches_the_program(pod: Pod, tmp_path: Path) -> None:
    async with program_in(pod, tmp_path, ("127.0.0.1", 9)) as sock:

        def send_until_refused() -> None:
            # The first error of the pod needs its time; every datagram after it is refused by the kernel.
            sock.settimeout(0.01)
            for _ in range(500):
                sock.send(b"anybody?")
                try:
                    sock.recv(1)
                except TimeoutError:
                    continue

        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(send_until_refused)


@pytest.mark.parametrize(
    ("ip", "code"),
    [
        ("127.0.0.1", errno.ECONNREFUSED),
        ("::1", errno.ECONNREFUSED),
        ("10.66.0.1", errno.EHOSTUNREACH),
        ("fd66::1", errno.EHOSTUNREACH),
        ("10.65.0.1", errno.EACCES),
        ("10.64.0.1", errno.ENETUNREACH),
    ],
)
async def test_failure_has_the_pods_errno(pod: Pod, without_uvloop: dict[str, str], ip: str, code: int) -> None:
    for env in (None, without_uvloop):
        async with running_agent("--pid", str(pod.pid), env=env) as agent:
            stream = agent.tunnel.open(encode(ConnectUdp(Address(ip, 9))))
            stream.send(framed(b"anybody?"))
            with pytest.raises(StreamRefused) as caught:
                await asyncio.wait_for(stream.read(), LIMIT_S)
            assert errno_of(caught.value.payload, 0) == code


@pytest.mark.usefixtures("servers")
def test_whole_session_answers_a_layer_that_asks_for_udp(pod: Pod) -> None:
    code = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from inpod.protocol.layer import Addr, Connect, decode_addr, encode_request
ip, port, query = json.loads(sys.argv[2])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(20)
cookie = int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as layer:
    layer.connect(os.environ["INPOD_SESSION"] + "/layer.sock")
    socket.send_fds(layer, [encode_request(Connect(cookie, Addr.of(ip, port)))], [sock.fileno()])
    reply = layer.recv(100)
# The session connects the socket, and a layer does it once more: there is nothing to do here.
sock.send(bytes.fromhex(query))
print(json.dumps([reply[:4].hex(), str(decode_addr(reply, 4)), sock.recv(2000).hex()]))
"""
    query = question("me.test", A)
    arguments = [str(ROOT / "src"), json.dumps([SERVERS[0], SERVER_PORT, query.hex()])]
    status, real, answer = json.loads(python_in(f"pid/{pod.pid}", code, *arguments))
    assert status == "00000000"
    assert real.startswith("127.0.0.1:")
    assert socket.inet_ntoa(value_of(bytes.fromhex(answer), query)) == SERVERS[0]
