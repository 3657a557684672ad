"""Connections over real sockets and a real tunnel: order, slowness, ends."""

import asyncio
import gc
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast

import pytest
import uvloop

from inpod.agent.incoming.http import client, connection
from inpod.agent.incoming.http.choice import Chooser, Fate, Head, Taker
from inpod.agent.incoming.http.client import SILENCE_LIMIT_S, ConnectOriginal
from inpod.agent.incoming.http.connection import serve
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.exchange import Exchange
from inpod.protocol.agent import PREFACE
from inpod.tunnel.mux import WINDOW
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream, Tunnel
from inpod.tunnel.transport import HIGH_WATER, abort_with_reset

LIMIT_S = 90
MIB = 1024 * 1024
PATTERN = bytes(range(256)) * 257
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"

Run = Callable[[Callable[[], Awaitable[None]]], None]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a scenario in a loop of each kind."""

    def run(scenario: Callable[[], Awaitable[None]]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(LIMIT_S):
                await scenario()

        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(limited())

    return run


def patterned(size: int) -> Iterator[bytes]:
    """Yield `size` bytes, in pieces that all differ."""
    for at in range(0, size, len(PATTERN)):
        yield (b"%016d" % at + PATTERN)[: min(len(PATTERN), size - at)]


def digest(size: int) -> bytes:
    total = hashlib.sha256()
    for piece in patterned(size):
        total.update(piece)
    return total.digest()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def named(name: bytes) -> Serve:
    """Answer each request with the server's name and the request's first line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await read_head(reader)
            text = name + b" " + head.partition(b"\r\n")[0]
            writer.write(OK % (len(text), text))

    return answer


@dataclass
class Room:
    """A served port with an original and a session behind it.

    Attributes:
        port: Of the served listener.
        opened: Connections that the original and the program got.
    """

    port: int
    counts: Counts
    opened: list[str]
    tunnel: Tunnel

    async def connect(self, limit: int = 64 * 1024) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=limit)

    async def ask(self, data: bytes) -> bytes:
        """Return all that a client gets that says `data` and ends."""
        reader, writer = await self.connect()
        writer.write(data)
        writer.write_eof()
        try:
            return await reader.read()
        finally:
            writer.close()


class Session:
    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def open(self) -> Stream:
        return self._tunnel.open(b"")


class Filters:
    """Gives the session what has "mine" in its target, or in its body where "body" is in the target."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        if b"body" in head.target:
            return Fate.NEEDS_BODY if body is None else self._session if b"mine" in body else Fate.ORIGINAL
        return self._session if b"mine" in head.target else Fate.ORIGINAL


@asynccontextmanager
async def room(
    *,
    original: Serve | None = None,
    program: Serve | None = None,
    serve_http2: connection.ServeHttp2 | None = None,
) -> AsyncIterator[Room]:
    """Serve a port; without a server there is no original or the session refuses."""
    loop = asyncio.get_running_loop()
    opened: list[str] = []
    answering: list[asyncio.Task[None]] = []
    servers: dict[str, asyncio.Server] = {}

    def counted(name: str, serve: Serve) -> Serve:
        async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            opened.append(name)
            if (task := asyncio.current_task()) is not None:
                answering.append(task)
            try:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    await serve(reader, writer)
            finally:
                writer.close()

        return begin

    for name, answer in (("original", original), ("program", program)):
        if answer is not None:
            servers[name] = await asyncio.start_server(counted(name, answer), "127.0.0.1", 0)

    def port_of(name: str) -> int:
        return int(servers[name].sockets[0].getsockname()[1])

    async def connect(name: str) -> socket.socket:
        if name not in servers:
            raise ConnectionRefusedError
        sock = socket.socket()
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port_of(name)))
        return sock

    async def bridge(stream: Stream) -> None:
        try:
            sock = await connect("program")
        except OSError:
            stream.refuse()
            return
        stream.accept()
        await relay(stream, sock)

    ours, theirs = socket.socketpair()
    async with asyncio.TaskGroup() as group:

        def on_stream(stream: Stream, _: bytes) -> None:
            group.create_task(bridge(stream))

        far = Tunnel(initiator=False, on_stream=on_stream)
        near = Tunnel(initiator=True, on_stream=lambda stream, _: None)
        await far.attach(theirs)
        await near.attach(ours)
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        served = Room(listener.getsockname()[1], Counts(), opened, near)
        filters: Chooser = Filters(Session(near))

        async def accept() -> None:
            while True:
                sock, _ = await loop.sock_accept(listener)
                sock.setblocking(False)
                group.create_task(serve(sock, filters, lambda: connect("original"), served.counts, serve_http2))

        accepting = group.create_task(accept())
        try:
            yield served
        finally:
            accepting.cancel()
            listener.close()
            near.close()
            far.close()
            for server in servers.values():
                server.close()
            await asyncio.gather(*answering)


def test_each_request_reaches_whom_it_is_for(run: Run) -> None:
    async def scenario() -> None:
        async with room(original=named(b"original"), program=named(b"program")) as served:
            reader, writer = await served.connect()
            for target, whose in ((b"a", b"original"), (b"mine", b"program")) * 3:
                writer.write(GET % target)
                assert await read_head(reader)
                text = b"%s GET /%s HTTP/1.1" % (whose, target)
                assert await reader.readexactly(len(text)) == text
            assert served.opened == ["original", "program"]
            writer.close()

    run(scenario)


def test_ended_connection_leaves_nothing_for_the_collector(run: Run) -> None:
    # A circle for each of thousands of connections in a second has it run all the time.
    async def scenario() -> None:
        async with room(original=named(b"original"), program=named(b"program")) as served:
            gc.collect()
            gc.disable()
            try:
                for target in (b"a", b"mine") * 3:
                    assert await served.ask(GET % target)
                async with asyncio.timeout(LIMIT_S):
                    while any(isinstance(each, client.Client | Exchange) for each in gc.get_objects()):  # noqa: ASYNC110  # no event tells
                        await asyncio.sleep(0.01)
            finally:
                gc.enable()

    run(scenario)


def test_pipelined_requests_of_both_are_answered_in_order(run: Run) -> None:
    async def scenario() -> None:
        async with room(original=named(b"original"), program=named(b"program")) as served:
            targets = [b"a", b"mine", b"mine/2", b"b", b"c", b"mine/3"] * 50
            data = await served.ask(b"".join(GET % target for target in targets))
            texts = [
                (b"program" if b"mine" in target else b"original") + b" GET /%s HTTP/1.1" % target for target in targets
            ]
            assert data == b"".join(OK % (len(text), text) for text in texts)
            assert (served.counts.seen, served.counts.matched, served.counts.passed) == (300, 150, 150)

    run(scenario)


def test_refused_session_leaves_its_requests_to_the_original(
    run: Run,
) -> None:
    async def scenario() -> None:
        async with room(original=named(b"original")) as served:
            assert b"original GET /mine" in await served.ask(GET % b"mine")

    run(scenario)


def test_session_is_served_though_there_is_no_original(run: Run) -> None:
    async def scenario() -> None:
        async with room(program=named(b"program")) as served:
            assert b"program GET /mine" in await served.ask(GET % b"mine")
            with pytest.raises(ConnectionResetError):
                await served.ask(GET % b"a")

    run(scenario)


@pytest.mark.slow
def test_server_that_speaks_first_is_heard_after_the_limit(
    run: Run,
) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        writer.write(b"you said " + await reader.readline())
        writer.close()

    async def scenario() -> None:
        async with room(original=greet, program=named(b"program")) as served:
            start = asyncio.get_running_loop().time()
            reader, writer = await served.connect()
            assert await reader.readline() == b"220 ready\r\n"
            assert asyncio.get_running_loop().time() - start >= SILENCE_LIMIT_S
            writer.write(GET % b"mine")
            assert await reader.read() == b"you said GET /mine HTTP/1.1\r\n"
            writer.close()

    run(scenario)


@pytest.mark.slow
def test_late_request_of_a_silent_client_is_decided(run: Run) -> None:
    async def scenario() -> None:
        connected = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connected.set()
            await named(b"original")(reader, writer)

        async with room(original=answer, program=named(b"program")) as served:
            reader, writer = await served.connect()
            await connected.wait()
            for target, whose in ((b"mine", b"program"), (b"a", b"original")):
                writer.write(GET % target)
                await read_head(reader)
                assert (await reader.readuntil(b"1.1")).startswith(whose)
            assert served.opened == ["original", "program"]
            writer.close()

    run(scenario)


def test_other_protocols_pass_at_once(run: Run) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.write(b"end")
        writer.close()

    async def scenario() -> None:
        async with room(original=echo, program=named(b"program")) as served:
            for data in (b"\x16\x03\x01" + PATTERN, b"*1\r\n$4\r\nPING\r\n" + GET % b"mine", b"SSH-2.0-x\r\n", b""):
                assert await served.ask(data) == data + b"end"
            assert served.counts.whole == 4

    run(scenario)


def test_http2_is_handed_on_with_its_preface_whole(run: Run) -> None:
    async def serve_http2(
        client: socket.socket, first: bytes, chooser: Chooser, connect_original: ConnectOriginal, counts: Counts
    ) -> None:
        with client:
            await asyncio.get_running_loop().sock_sendall(client, b"two:" + first)

    async def scenario() -> None:
        async with room(original=named(b"original"), serve_http2=serve_http2) as served:
            for size in (1, 4, 18, len(PREFACE)):
                reader, writer = await served.connect()
                writer.write(PREFACE[:size])
                await writer.drain()
                await asyncio.sleep(0.02)  # so that the pieces come apart; together they would mean the same
                writer.write(PREFACE[size:])
                assert await reader.read() == b"two:" + PREFACE
                writer.close()

    run(scenario)


def test_client_that_breaks_off_ends_the_program_s_connection(
    run: Run,
) -> None:
    async def scenario() -> None:
        ended, asked = asyncio.Event(), asyncio.Event()

        async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            asked.set()
            with suppress(ConnectionResetError):
                await reader.read()
            ended.set()
            writer.close()

        async with room(program=wait) as served:
            _, writer = await served.connect()
            writer.write(GET % b"mine")
            await asked.wait()
            writer.transport.abort()
            await ended.wait()

    run(scenario)


class Originals:
    def choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        return Fate.ORIGINAL


@pytest.mark.parametrize("said", [b"", PREFACE[:9], b"GET / HT"], ids=["nothing", "half a preface", "half a head"])
def test_cancelled_connection_is_reset_only_if_its_client_has_said_something(run: Run, said: bytes) -> None:
    async def connect_original() -> socket.socket:
        raise ConnectionRefusedError

    async def serve_http2(
        client: socket.socket, first: bytes, chooser: Chooser, connect_original: ConnectOriginal, counts: Counts
    ) -> None:
        raise AssertionError("it is none yet")

    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            own = socket.create_connection(listener.getsockname())
            own.sendall(said)
            accepted, _ = listener.accept()
        accepted.setblocking(False)
        serving = asyncio.ensure_future(serve(accepted, Originals(), connect_original, Counts(), serve_http2))
        await asyncio.sleep(0)  # it reads what is there
        serving.cancel()
        await asyncio.wait([serving])
        with own:
            if said:
                with pytest.raises(ConnectionResetError):
                    await asyncio.to_thread(own.recv, 1)
            else:
                assert await asyncio.to_thread(own.recv, 1) == b""

    run(scenario)


def test_program_that_breaks_off_resets_the_client(run: Run) -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        abort_with_reset(cast("asyncio.Transport", writer.transport))

    async def scenario() -> None:
        async with room(original=named(b"original"), program=break_off) as served:
            with pytest.raises(ConnectionResetError):
                await served.ask(GET % b"mine")

    run(scenario)


def test_lost_tunnel_leaves_idle_connections_to_the_original(
    run: Run,
) -> None:
    async def scenario() -> None:
        async with room(original=named(b"original"), program=named(b"program")) as served:
            reader, writer = await served.connect()
            writer.write(GET % b"mine")
            await reader.readuntil(b"HTTP/1.1")
            await reader.readuntil(b"HTTP/1.1")
            served.tunnel.close()
            writer.write(GET % b"mine")
            await read_head(reader)
            assert await reader.readuntil(b"1.1") == b"original GET /mine HTTP/1.1"
            writer.close()

    run(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("target", [b"a", b"mine", b"body"])
@pytest.mark.parametrize("is_chunked", [False, True])
def test_100_mib_each_way_arrive_as_sent_with_slow_ends(run: Run, target: bytes, is_chunked: bool) -> None:
    size = 100 * MIB
    whole = digest(size)

    def frame(piece: bytes) -> bytes:
        return b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece

    framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size

    async def read_body(reader: asyncio.StreamReader) -> bytes:
        total = hashlib.sha256()
        left = size
        while True:
            if is_chunked:
                length = int(await reader.readline(), 16)
                total.update(await reader.readexactly(length))
                assert await reader.readexactly(2) == b"\r\n"
                if not length:
                    return total.digest()
            else:
                data = await reader.read(1 << 18)
                assert data
                left -= len(data)
                total.update(data)
                if not left:
                    return total.digest()
            await asyncio.sleep(0)  # slower than who sends

    async def write_body(writer: asyncio.StreamWriter) -> None:
        for piece in patterned(size):
            writer.write(frame(piece))
            await writer.drain()
        if is_chunked:
            writer.write(b"0\r\n\r\n")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        assert await read_body(reader) == whole
        writer.write(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        await write_body(writer)

    async def scenario() -> None:
        async with room(original=answer, program=answer) as served:
            reader, writer = await served.connect()
            writer.write(b"POST /%s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % (target, framing))
            await write_body(writer)
            await read_head(reader)
            assert await read_body(reader) == whole
            assert served.counts.seen == 1
            writer.close()

    run(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("target", [b"a", b"mine"])
def test_client_that_does_not_read_bounds_what_is_held(
    run: Run, target: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    write = client.Client.write

    def noting(self: client.Client, data: bytes) -> None:
        write(self, data)
        assert self._transport is not None
        held.append(self._transport.get_write_buffer_size())

    monkeypatch.setattr(client.Client, "write", noting)

    async def scenario() -> None:
        stuck = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
            try:
                async with asyncio.timeout(1.5):
                    for piece in patterned(64 * MIB):
                        writer.write(piece)
                        await writer.drain()
            except TimeoutError:
                stuck.set()
            writer.transport.abort()

        async with room(original=answer, program=answer) as served:
            reader, writer = await served.connect(limit=1)
            writer.write(GET % target)
            reader._transport.pause_reading()  # type: ignore[attr-defined]  # stops reading from the kernel, too
            await stuck.wait()
            assert max(held) <= WINDOW + HIGH_WATER
            writer.transport.abort()

    run(scenario)


def test_slow_connection_does_not_hold_up_others(run: Run) -> None:
    async def scenario() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            if b"stuck" in head:
                await reader.read()
            writer.write(OK % (2, b"ok"))
            writer.close()

        async with room(original=answer, program=answer) as served:
            stuck = [await served.connect() for _ in range(20)]
            for number, (_, writer) in enumerate(stuck):
                writer.write(GET % (b"mine/stuck" if number % 2 else b"stuck"))
            for target in (b"a", b"mine"):
                assert await served.ask(GET % target) == OK % (2, b"ok")
            for reader, writer in stuck:
                writer.write_eof()
                assert await reader.read() == OK % (2, b"ok")
                writer.close()

    run(scenario)
