"""Questions of DNS that stay here, taken out of a connection to a name server of the pod; both loops."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from inpod.dns import messages
from inpod.dns.questions import Questions
from inpod.session.names.filter import NameFilter
from inpod.session.names.here import LocalNames
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import Stream
from tests.unit.tunnel.conftest import Run, tunnels

LIMIT_S = 10

FILTER = NameFilter((), ("here", "silent"), ())


def query(name: str, number: int = 7) -> bytes:
    return messages.encode_query(number, messages.parse_name(name.encode()), messages.A)


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2) + message


def answered(message: bytes, who: bytes) -> bytes:
    """Return a question as its own answer, with a word behind it of who said it."""
    return message[:2] + b"\x81\x80" + message[4:] + who


@asynccontextmanager
async def local_names() -> AsyncIterator[LocalNames]:
    """Those of a machine whose name server answers all but "silent", by TCP and by UDP."""
    loop = asyncio.get_running_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        message = await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        if b"silent" not in message:
            writer.write(framed(answered(message, b"tcp")))
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.send = cast("asyncio.DatagramTransport", transport).sendto

        def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
            if b"silent" not in data:
                for datagram in (b"", b"garbage", answered(query("other"), b""), answered(data, b"udp")):
                    self.send(datagram, sender)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    datagrams, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", port))
    conf = b"nameserver 127.0.0.1\noptions timeout:1 attempts:1"
    try:
        yield LocalNames(FILTER, Questions(lambda name: conf if name == "resolv.conf" else b"", port=port))
    finally:
        datagrams.close()
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def connection(
    names: LocalNames, serve: Callable[[Stream], "asyncio.Future[None]"]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The program's end of a connection; at the other end is `serve`, which has its stream."""
    served: list[asyncio.Future[None]] = []

    def on_stream(stream: Stream, head: bytes) -> None:
        stream.accept()
        served.append(serve(stream))

    program, near = socket.socketpair()
    async with tunnels(on_stream) as (first, _):
        stream = first.open(b"")
        await stream.accepted()
        relaying = asyncio.ensure_future(names.relay(stream, near))
        reader, writer = await asyncio.open_connection(sock=program)
        try:
            async with asyncio.timeout(LIMIT_S):
                yield reader, writer
        finally:
            writer.close()
            async with asyncio.timeout(LIMIT_S):
                await relaying
                await asyncio.gather(*served)


async def _server_of_pod(stream: Stream) -> None:
    """Answers question by question, in pieces."""
    held = b""
    while data := await stream.read():
        held += data
        while len(held) >= 2 and len(held) >= (end := 2 + int.from_bytes(held[:2])):
            said = framed(answered(held[2:end], b"pod"))
            held = held[end:]
            for at in range(0, len(said), 7):
                await stream.write(said[at : at + 7])
    stream.write_eof()


def server_of_pod(stream: Stream) -> "asyncio.Future[None]":
    return asyncio.ensure_future(_server_of_pod(stream))


async def next_message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))


def test_each_question_is_answered_by_whom_it_is_for(run: Run) -> None:
    async def main() -> None:
        asked = [query(name, number) for number, name in enumerate(["here", "pod", "pod.svc", "here", "here", "pod"])]
        data = b"".join(map(framed, [*asked, b"", b"no question"]))
        async with local_names() as names, connection(names, server_of_pod) as (reader, writer):
            for size in (1, 5, len(data)):
                for at in range(0, len(data), size):
                    writer.write(data[at : at + size])
                    await writer.drain()
                heard = {await next_message(reader) for _ in range(8)}
                said = {answered(one, b"tcp" if b"here" in one else b"pod") for one in asked}
                assert heard == said | {answered(b"", b"pod"), answered(b"no question", b"pod")}

    run(main)


def test_what_was_asked_before_the_end_is_answered(run: Run) -> None:
    async def main() -> None:
        async with local_names() as names, connection(names, server_of_pod) as (reader, writer):
            writer.write(framed(query("here")) + framed(query("pod")))
            writer.write_eof()
            assert {await next_message(reader), await next_message(reader)} == {
                answered(query("here"), b"tcp"),
                answered(query("pod"), b"pod"),
            }
            assert await reader.read() == b""

    run(main)


def test_end_of_the_pods_server_is_that_of_the_connection(run: Run) -> None:
    async def refuse(stream: Stream) -> None:
        stream.refuse()

    async def main() -> None:
        async with (
            local_names() as names,
            connection(names, lambda stream: asyncio.ensure_future(refuse(stream))) as (reader, _),
        ):
            assert await reader.read() == b""

    run(main)


def test_connection_ends_when_the_pods_server_ends_it(run: Run) -> None:
    async def answer_once(stream: Stream) -> None:
        held = await stream.read()
        await stream.write(framed(answered(held[2:], b"pod")))
        stream.write_eof()

    async def main() -> None:
        async with (
            local_names() as names,
            connection(names, lambda stream: asyncio.ensure_future(answer_once(stream))) as (reader, writer),
        ):
            writer.write(framed(query("pod")))
            assert await next_message(reader) == answered(query("pod"), b"pod")
            assert await reader.read() == b""
            # What comes too late harms nothing.
            writer.write(framed(query("here")))

    run(main)


def test_server_that_is_silent_holds_up_nothing_for_ever(run: Run) -> None:
    async def main() -> None:
        async with local_names() as names, connection(names, server_of_pod) as (reader, writer):
            writer.write(framed(query("silent")) + framed(query("here")))
            assert await next_message(reader) == answered(query("here"), b"tcp")

    run(main)


def test_program_that_does_not_read_does_not_hold_up_the_sessions_end(run: Run) -> None:
    """As one that was left behind by the program itself."""

    async def main() -> None:
        far: list[Stream] = []

        def take(stream: Stream, head: bytes) -> None:
            stream.accept()
            far.append(stream)

        async with local_names() as names, tunnels(take) as (first, _):
            stream = first.open(b"")
            await stream.accepted()
            program, inner = socket.socketpair()
            with program:
                inner.setblocking(False)
                tasks = Tasks()
                tasks.spawn(names.relay(stream, inner))
                while far[0].send(framed(bytes(65535))):  # noqa: ASYNC110  # the relay gives no event
                    await asyncio.sleep(0.01)  # until it goes no further
                async with asyncio.timeout(LIMIT_S):
                    await tasks.close()

    run(main)


def test_datagram_is_answered_by_this_machine_whatever_else_comes(run: Run) -> None:
    async def main() -> None:
        async with local_names() as names:
            assert await names.answer(query("here")) == answered(query("here"), b"udp")
            assert await names.answer(query("silent")) is None

    run(main)


@pytest.mark.parametrize(
    ("message", "is_here"),
    [
        (query("here"), True),
        (query("HERE"), True),
        (query("pod"), False),
        (answered(query("here"), b""), False),
        (query("here")[:-1], False),
        (b"", False),
        (bytes(12), False),
    ],
    ids=["here", "in capitals", "the pod's", "an answer", "cut", "empty", "no question"],
)
def test_only_questions_about_names_of_here_are_kept(run: Run, message: bytes, is_here: bool) -> None:
    async def main() -> None:
        async with local_names() as names:
            assert names.is_here(message) == is_here

    run(main)
