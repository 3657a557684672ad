"""The socket that layers ask on: real connections, requests of every kind."""

import array
import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest
import uvloop

from inpod.protocol.layer import (
    Addr,
    Bind,
    Connect,
    File,
    Kind,
    Listen,
    Request,
    Resolve,
    Want,
    Warn,
    encode_reply,
    encode_request,
)
from inpod.session.layer_server import LayerServer

LIMIT_S = 20
EVERY: tuple[Request, ...] = (
    Connect(7, Addr.of("10.0.0.1", 80)),
    Bind(Addr.of("::", 80), reuse_port=True),
    Listen(Addr.of("0.0.0.0", 80), Addr.of("127.0.0.1", 8080), is_local=False),
    Resolve(4, "db"),
    File(Want.READ, b"/etc/\xff"),
    Warn("static", b"/bin/x"),
)

Run = Callable[[Callable[[], Coroutine[None, None, None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run_it(main: Callable[[], Coroutine[None, None, None]]) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(main(), LIMIT_S))

    return run_it


def connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.setblocking(False)
    sock.connect(str(path))
    return sock


async def ask(sock: socket.socket, data: bytes) -> bytes:
    sock.send(data)
    return await asyncio.get_running_loop().sock_recv(sock, 65536)


def test_every_request_is_understood_and_answered_now_or_later(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        seen: list[Request] = []

        def answer(request: Request, fd: int) -> bytes | Awaitable[bytes]:
            seen.append(request)

            async def later() -> bytes:
                await asyncio.sleep(0)
                return encode_reply(len(seen))

            return later() if len(seen) % 2 else encode_reply(len(seen))

        server = LayerServer(tmp_path / "sock", answer)
        with connected(tmp_path / "sock") as sock:
            for number, request in enumerate(EVERY, 1):
                assert await ask(sock, encode_request(request)) == encode_reply(number)
        assert tuple(seen) == EVERY
        server.close()

    run(main)


def test_requests_of_one_connection_are_answered_in_order_and_do_not_hold_up_others(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def slow() -> bytes:
            await gate.wait()
            return encode_reply(1)

        def answer(request: Request, fd: int) -> bytes | Awaitable[bytes]:
            return slow() if isinstance(request, Resolve) else encode_reply(2)

        server = LayerServer(tmp_path / "sock", answer)
        with connected(tmp_path / "sock") as first, connected(tmp_path / "sock") as second:
            first.send(encode_request(Resolve(0, "slow")))
            first.send(encode_request(Warn("go", b"")))
            assert await ask(second, encode_request(Warn("go", b""))) == encode_reply(2)
            with pytest.raises(BlockingIOError):
                first.recv(10)
            gate.set()
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(first, 100) == encode_reply(1)
            assert await loop.sock_recv(first, 100) == encode_reply(2)
        server.close()

    run(main)


def test_passed_descriptor_is_the_handlers(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        inodes: list[int] = []

        def answer(request: Request, fd: int) -> bytes:
            inodes.append(os.fstat(fd).st_ino)
            assert not os.get_inheritable(fd)
            os.close(fd)
            return encode_reply(0)

        server = LayerServer(tmp_path / "sock", answer)
        with connected(tmp_path / "sock") as sock, socket.socket() as passed:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [passed.fileno()]))
            sock.sendmsg([encode_request(EVERY[0])], [rights])
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == encode_reply(0)
            assert inodes == [os.fstat(passed.fileno()).st_ino]
        server.close()

    run(main)


@pytest.mark.parametrize(
    "data", [b"\0", b"\xff\xff", Kind.CONNECT.to_bytes(2, "little"), encode_request(EVERY[2])[:-1]]
)
def test_garbage_ends_its_connection_only(run: Run, tmp_path: Path, data: bytes) -> None:
    async def main() -> None:
        server = LayerServer(tmp_path / "sock", lambda request, fd: encode_reply(0))
        with connected(tmp_path / "sock") as bad, connected(tmp_path / "sock") as good:
            assert await ask(bad, data) == b""
            assert await ask(good, encode_request(EVERY[5])) == encode_reply(0)
        server.close()

    run(main)


def test_fault_of_a_handler_is_an_io_error_of_its_request(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def fails() -> bytes:
            raise RuntimeError("of the test")

        def answer(request: Request, fd: int) -> bytes | Awaitable[bytes]:
            if isinstance(request, Resolve):
                return fails()
            raise RuntimeError("of the test")

        server = LayerServer(tmp_path / "sock", answer)
        with connected(tmp_path / "sock") as sock:
            for request in (EVERY[3], EVERY[5], EVERY[3]):
                assert await ask(sock, encode_request(request)) == encode_reply(5)
        server.close()

    run(main)


def test_closed_server_ends_its_connections(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        server = LayerServer(tmp_path / "sock", lambda request, fd: encode_reply(0))
        with connected(tmp_path / "sock") as sock:
            await ask(sock, encode_request(EVERY[5]))
            server.close()
            assert await asyncio.get_running_loop().sock_recv(sock, 10) == b""

    run(main)
