"""HTTP/2 over real sockets and a real tunnel: slowness and ends."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from inpod.agent.incoming.http import h2, wires
from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2 import serve_http2
from inpod.protocol.agent import PREFACE
from tests.unit.agent.incoming.http.h2_peers import Peer, Server
from tests.unit.agent.incoming.http.test_connection import Room, Run, room, run

__all__ = ["run"]

MIB = 1024 * 1024

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def serving(name: str, *, extra: int = 0, sent: list[int] | None = None) -> Serve:
    """Answer each request with the server's name, the request's body and `extra` bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = Server(name)
        server.extra = bytes(extra)
        while True:
            data = server.h2.data_to_send()
            if sent is not None:
                sent.append(len(data))
            writer.write(data)
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                return
            server.receive(data)

    return serve


class Client(Peer):
    """A client over a real connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(is_client=True)
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, served: Room) -> "Client":
        return cls(*await served.connect())

    def ask(self, path: bytes, body: bytes = b"") -> int:
        number = self.h2.get_next_available_stream_id()
        fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"a")]
        self.h2.send_headers(number, fields)
        self.send(number, body)
        return number

    async def until(self, is_done: Callable[[], bool]) -> None:
        """Send and receive until something is so."""
        while True:
            self.writer.write(self.h2.data_to_send())
            await self.writer.drain()
            if is_done():
                return
            data = await self.reader.read(65536)
            if not data:
                raise EOFError
            self.receive(data)

    def who(self, number: int) -> bytes:
        return dict(self.got[number].fields)[b"x-who"]


def test_streams_of_one_connection_reach_whom_they_are_for(run: Run) -> None:
    async def scenario() -> None:
        async with room(original=serving("original"), program=serving("program"), serve_http2=serve_http2) as served:
            client = await Client.of(served)
            bodies = [bytes([number]) * number * 1000 for number in range(40)]
            asked = [client.ask(b"/mine" if number % 2 else b"/a", body) for number, body in enumerate(bodies)]
            await client.until(lambda: all(client.got[number].has_ended for number in asked))
            assert [client.who(number) for number in asked] == [b"original", b"program"] * 20
            assert [client.got[number].body for number in asked] == bodies
            assert sorted(served.opened) == ["original", "program"]
            assert (served.counts.matched, served.counts.passed) == (20, 20)
            client.writer.close()

    run(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("path", [b"/a", b"/mine"])
def test_client_that_does_not_read_stops_who_answers(run: Run, path: bytes) -> None:
    async def scenario() -> None:
        sent: list[int] = []
        extra = 2 * MIB
        answering = serving("x", extra=extra, sent=sent)
        async with room(original=answering, program=answering, serve_http2=serve_http2) as served:
            client = await Client.of(served)
            client.h2.increment_flow_control_window(2**31 - 1 - 65535)
            asked = [client.ask(path) for _ in range(50)]
            for number in asked:
                client.h2.increment_flow_control_window(2**30, number)
            client.writer.write(client.h2.data_to_send())
            # All windows are open, so what stops 100 MiB is that nobody takes it.
            last = -1
            while sum(sent) != last or not last:
                last = sum(sent)
                await asyncio.sleep(0.3)  # long enough for anything that moves to move
            assert last < 40 * MIB
            await client.until(lambda: all(client.got[number].has_ended for number in asked))
            assert all(client.got[number].body == bytes(extra) for number in asked)
            client.writer.close()

    run(scenario)


def test_broken_client_reads_why_before_its_connection_ends(run: Run) -> None:
    async def scenario() -> None:
        async with room(original=serving("original"), program=serving("program"), serve_http2=serve_http2) as served:
            reader, writer = await served.connect()
            writer.write(PREFACE + frames.settings({}) + frames.window_update(0, 0) + bytes(300_000))
            await writer.drain()
            start = asyncio.get_running_loop().time()
            assert frames.goaway(0, frames.PROTOCOL_ERROR, "window of the connection") in await reader.read()
            assert asyncio.get_running_loop().time() - start < wires.LINGER_S
            writer.close()

    run(scenario)


@pytest.mark.slow
def test_broken_client_that_stays_is_sent_away(run: Run) -> None:
    async def scenario() -> None:
        async with room(original=serving("original"), program=serving("program"), serve_http2=serve_http2) as served:
            reader, writer = await served.connect()
            writer.write(PREFACE + frames.window_update(0, 0))
            await reader.read()

            async def go_on() -> None:
                while True:
                    writer.write(b"more")
                    await writer.drain()
                    await asyncio.sleep(0.05)  # the reset is on its way

            with pytest.raises(ConnectionError):
                await go_on()
            writer.close()

    run(scenario)


def test_client_that_breaks_off_ends_its_sides(run: Run) -> None:
    async def scenario() -> None:
        ended: list[str] = []
        asked, gone = asyncio.Event(), asyncio.Event()

        def waiting(name: str) -> Serve:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                server = Server(name)
                server.answers = False
                writer.write(server.h2.data_to_send())
                while not server.got:
                    server.receive(await reader.read(65536))
                ended.append("")
                if len(ended) == 2:
                    asked.set()
                while await reader.read(65536):
                    pass
                ended.append(name)
                if len(ended) == 4:
                    gone.set()

            return serve

        async with room(original=waiting("original"), program=waiting("program"), serve_http2=serve_http2) as served:
            client = await Client.of(served)
            client.ask(b"/a")
            client.ask(b"/mine")
            client.writer.write(client.h2.data_to_send())
            await asked.wait()
            client.writer.close()
            await gone.wait()
            assert sorted(ended[2:]) == ["original", "program"]
            assert h2._HELD.size == 0

    run(scenario)


@pytest.mark.slow
def test_slow_client_gets_the_last_answer_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "LINGER_S", 0.5)
    size = 8 * MIB

    async def last_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server = Server("original")
        server.extra = bytes(size)
        while not (server.got and server.got[1].has_ended and not server._outgoing):
            server.receive(await reader.read(65536))
            writer.write(server.h2.data_to_send())
            await writer.drain()
        writer.write(frames.goaway(1, frames.NO_ERROR))
        while await reader.read(65536):
            pass

    async def scenario() -> None:
        async with room(original=last_answer, serve_http2=serve_http2) as served:
            client = await Client.of(served)
            client.h2.increment_flow_control_window(2**31 - 1 - 65535)
            asked = client.ask(b"/a")
            client.h2.increment_flow_control_window(2**30, asked)
            client.writer.write(client.h2.data_to_send())
            while not client.got[asked].has_ended:
                data = await client.reader.read(65536)
                assert data
                client.receive(data)
                await asyncio.sleep(0.02)  # a slow line
            assert len(client.got[asked].body) == size
            client.writer.close()

    run(scenario)


def test_refused_ends_are_told_stream_by_stream(run: Run) -> None:
    async def scenario() -> None:
        async with room(program=serving("program"), serve_http2=serve_http2) as served:
            client = await Client.of(served)
            theirs, ours = client.ask(b"/a"), client.ask(b"/mine")
            await client.until(lambda: client.got[ours].has_ended and client.got[theirs].reset is not None)
            assert (client.got[theirs].reset, client.who(ours)) == (frames.REFUSED_STREAM, b"program")
            client.writer.close()
        async with room(original=serving("original"), serve_http2=serve_http2) as served:
            client = await Client.of(served)
            ours = client.ask(b"/mine")
            await client.until(lambda: client.got[ours].has_ended)
            assert client.who(ours) == b"original"
            client.writer.close()

    run(scenario)
