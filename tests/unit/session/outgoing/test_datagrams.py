"""UDP sockets of a program, joined with an agent: real sockets, a real tunnel, both loops. The layer is played."""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inpod.protocol.layer import NOWHERE_ELSE, Addr, Connect, decode_addr, encode_addr
from inpod.session.kernel_sockets import Ends
from inpod.session.outgoing import datagram_sockets as kernel
from inpod.session.outgoing import datagrams as subject
from inpod.session.outgoing.connections import Outgoing
from inpod.session.relays import Relays
from inpod.session.table import SOCKET_SLOT, SOCKETS_AT, Table
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import Tunnel
from tests.unit.tunnel.conftest import Run
from tests.unit.udp import SIZES, agent_tunnel, free_port, receive, receive_from, udp_server, until

SO_COOKIE = 57


class Scene:
    """A session's outgoing part, and the programs of a test."""

    def __init__(self, tunnel: Tunnel, path: Path) -> None:
        self.tunnel = tunnel
        self.opened = 0
        self.path = path
        self.table = Table(path)
        self.tasks = Tasks()
        self.outgoing = Outgoing(self._tunnel, self.table, self._no_listener, self.tasks, Relays())

    def _tunnel(self) -> Tunnel:
        self.opened += 1
        return self.tunnel

    def _no_listener(self, to: Addr) -> Addr | None:
        raise AssertionError("the program's listeners are of TCP")

    def ask(self, program: socket.socket, to: tuple[str, int], family: int | None = None) -> tuple[int, Addr | None]:
        """Ask as the layer does; return errno and redirect."""
        cookie = struct.unpack("<Q", program.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
        wanted = Addr.of(*to, family)
        first = ((cookie * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF) >> 48
        with self.path.open("rb+") as file:
            file.seek(SOCKETS_AT + first * SOCKET_SLOT.size)
            file.write(SOCKET_SLOT.pack(cookie, bytes(20), encode_addr(wanted), 0, 1, 0))
        reply = self.outgoing.connect(Connect(cookie, wanted), os.dup(program.fileno()))
        (code,) = struct.unpack_from("<i", reply)
        return code, decode_addr(reply, 4) if len(reply) > 4 else None

    def errno_of(self, program: socket.socket) -> int:
        cookie = struct.unpack("<Q", program.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
        first = ((cookie * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF) >> 48
        with self.path.open("rb") as file:
            file.seek(SOCKETS_AT + first * SOCKET_SLOT.size)
            return int(SOCKET_SLOT.unpack(file.read(SOCKET_SLOT.size))[3])

    def connect(self, program: socket.socket, to: tuple[str, int]) -> tuple[str, int]:
        """Connect a socket as it is under the layer; return where it really goes."""
        family = 6 if program.family == socket.AF_INET6 else 4
        code, real = self.ask(program, to, family)
        assert code == 0
        assert real is not None
        is_mapped = family == 6 and ":" not in real.host
        program.connect((f"::ffff:{real.host}" if is_mapped else real.host, real.port))
        return real.host, real.port


def program_socket(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    return sock


@asynccontextmanager
async def scene(path: Path) -> AsyncIterator[Scene]:
    async with agent_tunnel() as tunnel:
        scene = Scene(tunnel, path)
        try:
            yield scene
        finally:
            scene.outgoing.close()
            await scene.tasks.close()
            scene.table.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(subject, "REFUSING_S", 1.0)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with udp_server() as sock:
        yield sock


def is_there(place: tuple[str, int]) -> bool:
    """Return whether somebody has that UDP address."""
    wanted = (Addr.of(*place).ip, place[1])
    return any(ends.own == wanted for ends in kernel.datagram_sockets().values())


@pytest.mark.parametrize("kind", ["v4", "v6", "v6 to v4", "v6 only", "bound"])
def test_datagrams_pass_both_ways_one_by_one(run: Run, path: Path, kind: str) -> None:
    async def main() -> None:
        host = "::1" if kind in ("v6", "v6 only") else "127.0.0.1"
        family = socket.AF_INET6 if "v6" in kind else socket.AF_INET
        with udp_server(host) as server, program_socket(family) as program:
            if kind == "v6 only":
                program.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == "bound":
                program.bind(("0.0.0.0", 0))
            async with scene(path) as outgoing:
                real = outgoing.connect(program, server.getsockname()[:2])
                assert real != server.getsockname()[:2]
                for size in SIZES:
                    datagram = (bytes(range(256)) * 256)[:size]
                    program.send(datagram)
                    seen, sender = await receive_from(server)
                    assert seen == datagram
                    server.sendto(seen[::-1], sender)
                    server.sendto(b"", sender)
                    assert [await receive(program), await receive(program)] == [seen[::-1], b""]

    run(main)


def test_agent_is_asked_with_the_first_datagram_only(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        async with scene(path) as outgoing:
            with program_socket() as program:
                outgoing.connect(program, server.getsockname())
                await asyncio.sleep(0)
                assert outgoing.opened == 0
                program.send(b"1")
                program.send(b"2")
                assert [await receive(server), await receive(server)] == [b"1", b"2"]
                assert outgoing.opened == 1

    run(main)


def test_hint_is_given_once(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        hints = []
        async with scene(path) as outgoing:
            outgoing.outgoing.on_first = lambda: hints.append(1)
            with program_socket() as one, program_socket() as other:
                outgoing.connect(one, server.getsockname())
                outgoing.connect(other, server.getsockname())
        assert hints == [1]

    run(main)


def test_others_cannot_speak_for_the_program(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        async with scene(path) as outgoing:
            with program_socket() as program, program_socket() as other:
                real = outgoing.connect(program, server.getsockname())
                other.connect(real)
                other.send(b"I am the program")
                with pytest.raises(ConnectionRefusedError):
                    other.send(b"again")
                program.send(b"really")
                seen, sender = await receive_from(server)
                assert seen == b"really"
                server.sendto(b"answer", sender)
                assert await receive(program) == b"answer"

    run(main)


@pytest.mark.usefixtures("quick")
def test_last_words_arrive_and_the_close_ends_all(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        async with scene(path) as outgoing:
            with program_socket() as program:
                real = outgoing.connect(program, server.getsockname())
                own = program.getsockname()
                program.send(b"last words")
            assert not is_there(own), "the session keeps the program's socket open"
            seen, sender = await receive_from(server)
            assert seen == b"last words"
            await until(lambda: not is_there(real))
            await until(lambda: not is_there(sender))

    run(main)


def test_reply_to_a_closed_socket_ends_its_relay(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        async with scene(path) as outgoing:
            with program_socket() as program:
                real = outgoing.connect(program, server.getsockname())
                program.send(b"1")
                _, sender = await receive_from(server)
            server.sendto(b"too late", sender)
            began = asyncio.get_running_loop().time()
            await until(lambda: not is_there(real))
            assert asyncio.get_running_loop().time() - began < subject.LOOK_EVERY_S

    run(main)


@pytest.mark.usefixtures("quick")
def test_socket_that_goes_elsewhere_ends_its_relay(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        async with scene(path) as outgoing:
            with program_socket() as program:
                first = outgoing.connect(program, server.getsockname())
                second = outgoing.connect(program, server.getsockname())
                assert not is_there(first)
                program.connect(server.getsockname())
                await until(lambda: not is_there(second))

    run(main)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_refusal_of_the_pod_reaches_the_program_until_a_server_is_there(run: Run, path: Path) -> None:
    async def main() -> None:
        port = free_port()
        async with scene(path) as outgoing:
            with program_socket() as program:
                real = outgoing.connect(program, ("127.0.0.1", port))
                program.send(b"anybody?")
                await until(lambda: outgoing.errno_of(program) == errno.ECONNREFUSED)
                program.send(b"again")
                with pytest.raises(ConnectionRefusedError):
                    await receive(program)
                assert is_there(real)
                with udp_server(port=port) as server:
                    await until(lambda: outgoing.errno_of(program) == 0)
                    program.send(b"now")
                    assert await receive(server) == b"now"

    run(main)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_lost_link_refuses_until_there_is_another(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        async with scene(path) as outgoing:
            with program_socket() as program:
                outgoing.connect(program, server.getsockname())
                program.send(b"1")
                await receive(server)
                outgoing.tunnel.close()
                await until(lambda: outgoing.errno_of(program) == errno.ENETUNREACH)
                program.send(b"lost")
                with pytest.raises(ConnectionRefusedError):
                    await receive(program)
                async with agent_tunnel() as another:
                    outgoing.tunnel = another
                    await until(lambda: outgoing.errno_of(program) == 0)
                    program.send(b"2")
                    assert await receive(server) == b"2"

    run(main)


def test_relays_have_a_limit_and_closed_sockets_do_not_count(
    run: Run, path: Path, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "MAX_RELAYS", 2)

    async def main() -> None:
        async with scene(path) as outgoing:
            with program_socket() as one, program_socket() as third:
                outgoing.connect(one, server.getsockname())
                with program_socket() as other:
                    outgoing.connect(other, server.getsockname())
                    assert outgoing.ask(third, server.getsockname()) == (errno.EAGAIN, None)
                await until(lambda: outgoing.ask(third, server.getsockname())[0] == 0)

    run(main)


def test_many_sockets_have_the_kernel_asked_early(
    run: Run, path: Path, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "LOOK_AFTER", 4)
    monkeypatch.setattr(subject, "LOOK_EVERY_S", 600.0)

    async def main() -> None:
        async with scene(path) as outgoing:
            real = []
            with program_socket() as stays:
                lasting = outgoing.connect(stays, server.getsockname())
                for _ in range(3):
                    with program_socket() as program:
                        real.append(outgoing.connect(program, server.getsockname()))
                await until(lambda: not any(map(is_there, real)))
                assert is_there(lasting)

    run(main)


def test_end_of_the_session_leaves_nothing(run: Run, path: Path, server: socket.socket) -> None:
    async def main() -> None:
        with program_socket() as program:
            async with scene(path) as outgoing:
                real = outgoing.connect(program, server.getsockname())
                program.send(b"1")
                _, sender = await receive_from(server)
            assert not is_there(real)
            assert not is_there(sender)

    run(main)


def test_what_is_no_udp_is_left_alone(run: Run, path: Path) -> None:
    async def main() -> None:
        async with scene(path) as outgoing:
            one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            with one, other:
                assert outgoing.ask(one, ("10.0.0.1", 53)) == (0, NOWHERE_ELSE.to)

    run(main)


def test_both_lists_of_the_kernel_say_the_same() -> None:
    with udp_server() as server, program_socket() as one, program_socket(socket.AF_INET6) as other:
        one.connect(server.getsockname())
        other.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        for found in (kernel._asked(), kernel._read()):
            there = (Addr.of("127.0.0.1", 0).ip, server.getsockname()[1])
            for sock in (one, other):
                ends = found[os.fstat(sock.fileno()).st_ino]
                assert ends == Ends((there[0], sock.getsockname()[1]), there)
            assert found[os.fstat(server.fileno()).st_ino].peer[1] == 0
