"""Transports on an epoll of their own, over real sockets, as a protocol sees them."""

import asyncio
import socket
import struct
from collections.abc import Callable

import pytest

from inpod.tunnel.transport import HIGH_WATER, READ_BYTES, Transport, open_transport
from tests.unit.tunnel.conftest import Run

MIB = 1024 * 1024


class Noting(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.said: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._note("data")

    def eof_received(self) -> bool:
        self._note("eof")
        return True

    def pause_writing(self) -> None:
        self._note("pause")

    def resume_writing(self) -> None:
        self._note("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    def _note(self, what: str) -> None:
        self.said.append(what)
        self._changed.set()


def opened(protocol: asyncio.Protocol, kind: str = "tcp") -> tuple[Transport, socket.socket]:
    """Return a transport, and the other end of its connection."""
    if kind == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    return open_transport(ours, protocol), theirs


async def received(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (more := await asyncio.get_running_loop().sock_recv(sock, 1 << 20)):
        data += more
    return bytes(data)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_much_data_passes_both_ways_whole(run: Run, kind: str) -> None:
    async def scenario() -> None:
        protocol = Noting()
        transport, theirs = opened(protocol, kind)
        data = bytes(range(251)) * (8 * MIB // 251)
        with theirs:
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(theirs, data))
            for at in range(0, len(data), 100_000):
                transport.write(data[at : at + 100_000])
            assert await received(theirs, len(data)) == data
            await sending
            await protocol.until(lambda: len(protocol.data) == len(data))
            assert protocol.data == data
        transport.abort()

    run(scenario)


def test_slow_reader_is_told_of_once_and_when_it_reads_again(run: Run) -> None:
    async def scenario() -> None:
        protocol = Noting()
        transport, theirs = opened(protocol)
        with theirs:
            size = 0
            while transport.get_write_buffer_size() <= HIGH_WATER:
                transport.write(bytes(READ_BYTES))
                size += READ_BYTES
            transport.write(b"last")
            assert protocol.said == ["pause"]
            assert (await received(theirs, size + 4)).endswith(b"\0last")
            await protocol.until(lambda: "resume" in protocol.said)
            assert protocol.said == ["pause", "resume"]
            assert transport.get_write_buffer_size() == 0
        transport.abort()

    run(scenario)


def test_paused_reading_leaves_data_and_its_end_to_later(run: Run) -> None:
    async def scenario() -> None:
        protocol = Noting()
        transport, theirs = opened(protocol)
        await asyncio.sleep(0)
        transport.pause_reading()
        await asyncio.get_running_loop().sock_sendall(theirs, b"x" * (2 * READ_BYTES))
        theirs.close()
        other = Noting()
        another, its_peer = opened(other)
        with its_peer:
            # Of the same epoll: what came to the first one was told before this.
            await asyncio.get_running_loop().sock_sendall(its_peer, b"here")
            await other.until(lambda: other.data == b"here")
        assert protocol.said == []
        transport.resume_reading()
        await protocol.until(lambda: "eof" in protocol.said)
        assert len(protocol.data) == 2 * READ_BYTES
        assert protocol.said.count("eof") == 1
        transport.abort()
        another.abort()

    run(scenario)


def test_half_close_comes_behind_what_waits_and_leaves_the_other_direction_open(run: Run) -> None:
    async def scenario() -> None:
        protocol = Noting()
        transport, theirs = opened(protocol)
        with theirs:
            while not transport.get_write_buffer_size():
                transport.write(bytes(READ_BYTES))
            transport.write_eof()
            while await asyncio.get_running_loop().sock_recv(theirs, 1 << 20):
                pass
            await asyncio.get_running_loop().sock_sendall(theirs, b"answer")
            await protocol.until(lambda: protocol.data == b"answer")
        await protocol.until(lambda: "eof" in protocol.said)
        transport.close()
        assert await protocol.lost is None

    run(scenario)


def test_close_sends_what_waits_first(run: Run) -> None:
    async def scenario() -> None:
        protocol = Noting()
        transport, theirs = opened(protocol)
        with theirs:
            size = 0
            while not transport.get_write_buffer_size():
                transport.write(bytes(READ_BYTES))
                size += READ_BYTES
            transport.close()
            assert transport.is_closing()
            assert len(await received(theirs, size + 1)) == size
        assert await protocol.lost is None

    run(scenario)


@pytest.mark.parametrize("after_eof", [False, True])
def test_reset_is_told_as_such(run: Run, after_eof: bool) -> None:
    async def scenario() -> None:
        protocol = Noting()
        _, theirs = opened(protocol)
        if after_eof:
            theirs.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: "eof" in protocol.said)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        assert isinstance(await protocol.lost, ConnectionResetError)

    run(scenario)


def test_fault_of_one_protocol_ends_its_connection_only(run: Run) -> None:
    class Faulty(Noting):
        def data_received(self, data: bytes) -> None:
            raise ValueError("a fault")

    async def scenario() -> None:
        told: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
        pairs = [(protocol, *opened(protocol)) for protocol in (Faulty(), Noting(), Faulty(), Noting())]
        for _, _, theirs in pairs:
            theirs.send(b"x")
        for protocol, transport, theirs in pairs:
            with theirs:
                if isinstance(protocol, Faulty):
                    assert isinstance(await protocol.lost, ValueError)
                else:
                    await protocol.until(lambda protocol=protocol: protocol.data == b"x")  # type: ignore[misc]
                    transport.abort()
        assert len(told) == 2

    run(scenario)


def test_released_socket_is_the_caller_s_with_all_that_comes(run: Run) -> None:
    async def scenario() -> None:
        protocol = Noting()
        transport, theirs = opened(protocol)
        sock = transport.release()
        with sock, theirs:
            await asyncio.get_running_loop().sock_sendall(theirs, b"for the caller")
            assert await received(sock, 14) == b"for the caller"
            sock.send(b"too")
            assert await received(theirs, 3) == b"too"
        assert protocol.said == []

    run(scenario)


@pytest.mark.parametrize("mark", ["urgent", "descriptor"])
def test_what_lies_behind_a_mark_is_read(run: Run, mark: str) -> None:
    async def scenario() -> None:
        protocol = Noting()
        transport, theirs = opened(protocol, "tcp" if mark == "urgent" else "unix")
        with theirs:
            # Before the first turn of the loop: one edge tells of all of it.
            if mark == "urgent":
                theirs.sendall(b"before")
                theirs.send(b"!", socket.MSG_OOB)
            else:
                socket.send_fds(theirs, [b"before"], [0])
            theirs.sendall(b"behind")
            await protocol.until(lambda: protocol.data == b"beforebehind")
        transport.abort()

    run(scenario)
