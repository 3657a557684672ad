"""Tunnels over a socket pair, on both loops: questions, answers, ends."""

import asyncio
import gc
import socket

import pytest

from inpod.tunnel.frames import HEADER, MAX_PAYLOAD, Kind, encode
from inpod.tunnel.mux import MAX_STREAMS, WINDOW
from inpod.tunnel.streams import PING_EVERY_S, Stream, StreamRefused, Tunnel, TunnelLost
from tests.unit.tunnel.conftest import PATTERN, Run, collect, tunnels


def accept(stream: Stream, head: bytes) -> None:
    stream.accept()


def ignore(stream: Stream, head: bytes) -> None:
    pass


async def event(condition: asyncio.Event) -> None:
    async with asyncio.timeout(10):
        await condition.wait()


def test_question_is_answered(run: Run) -> None:
    async def main() -> None:
        async with tunnels(lambda stream, head: stream.accept(head[::-1])) as (first, second):
            assert await first.ask(b"abc") == b"cba"
            with pytest.raises(StreamRefused) as refused:
                await second.ask(b"abc")
            assert refused.value.payload == b"no"
            assert not isinstance(refused.value, TunnelLost)

    run(main)


def test_ended_stream_leaves_nothing_for_the_collector(run: Run) -> None:
    # A circle for each of thousands of streams in a second has it run all the time.
    async def main() -> None:
        async with tunnels(lambda stream, head: stream.accept(head)) as (first, _):
            gc.collect()
            gc.disable()
            try:
                for _ in range(3):
                    await first.ask(b"abc")
                async with asyncio.timeout(10):
                    while any(isinstance(each, Stream) for each in gc.get_objects()):  # noqa: ASYNC110  # no event tells
                        await asyncio.sleep(0.01)
            finally:
                gc.enable()

    run(main)


def test_both_ends_ask_at_once(run: Run) -> None:
    async def main() -> None:
        reverse = lambda stream, head: stream.accept(head[::-1])  # noqa: E731  # a function of one line, used twice
        async with tunnels(reverse, reverse) as (first, second):
            questions = [b"%d" % n for n in range(300)]
            answers = await asyncio.gather(*(end.ask(q) for q in questions for end in (first, second)))
            assert answers == [q[::-1] for q in questions for _ in (first, second)]

    run(main)


def test_large_answer_is_fetched(run: Run) -> None:
    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []

        async def answer(stream: Stream) -> None:
            stream.accept()
            await stream.write(PATTERN * 100)
            stream.write_eof()

        def on_stream(stream: Stream, head: bytes) -> None:
            tasks.append(asyncio.ensure_future(answer(stream)))

        async with tunnels(on_stream) as (first, _):
            assert await first.fetch(b"") == PATTERN * 100
            await asyncio.gather(*tasks)

    run(main)


def test_writes_of_several_tasks_are_not_mixed(run: Run) -> None:
    async def main() -> None:
        arrived: asyncio.Queue[Stream] = asyncio.Queue()
        async with tunnels(lambda stream, head: arrived.put_nowait(stream)) as (first, _):
            stream = first.open(b"")
            size = 3 * WINDOW // 2
            parts = [bytes([n]) * size for n in range(5)]
            writing = [asyncio.ensure_future(stream.write(part)) for part in parts]
            # Begun before what was written has gone: EOF must not overtake it.
            await asyncio.sleep(0)
            stream.write_eof()
            far = await arrived.get()
            assert await collect(far) == b"".join(parts)
            await asyncio.gather(*writing)

    run(main)


def test_slow_stream_holds_one_window_and_no_other_stream(run: Run) -> None:
    async def main() -> None:
        streams: list[Stream] = []

        def on_stream(stream: Stream, head: bytes) -> None:
            streams.append(stream)
            stream.accept()

        async with tunnels(on_stream) as (first, _):
            slow, quick = first.open(b"slow"), first.open(b"quick")
            await slow.accepted()
            await quick.accepted()
            data = PATTERN * 64
            assert len(data) > 2 * WINDOW
            writing = asyncio.ensure_future(slow.write(data))
            for _ in range(50):
                await quick.write(b"ping")
                assert await streams[1].read() == b"ping"
            assert not writing.done()
            slow_bytes = bytearray()
            while len(slow_bytes) < len(data):
                slow_bytes += await streams[0].read()
            assert slow_bytes == data
            await writing

    run(main)


def test_cancelled_writer_and_reader_leave_the_stream_usable(run: Run) -> None:
    async def main() -> None:
        arrived: asyncio.Queue[Stream] = asyncio.Queue()
        async with tunnels(lambda stream, head: arrived.put_nowait(stream)) as (first, _):
            stream = first.open(b"")
            for wait in (stream.accepted(), stream.read(), stream.write(bytes(2 * WINDOW))):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await wait
            far = await arrived.get()
            far.accept(b"yes")
            assert await stream.accepted() == b"yes"
            await far.write(b"hello")
            assert await stream.read() == b"hello"
            stream.write_eof()
            assert await collect(far) == bytes(2 * WINDOW)

    run(main)


def test_closed_and_on_closed_follow_both_eofs(run: Run) -> None:
    async def main() -> None:
        arrived: asyncio.Queue[Stream] = asyncio.Queue()
        async with tunnels(lambda stream, head: arrived.put_nowait(stream)) as (first, _):
            stream = first.open(b"")
            closed = asyncio.Event()
            stream.on_closed = closed.set
            await stream.write(b"last words")
            stream.write_eof()
            assert not stream.closed
            far = await arrived.get()
            far.write_eof()
            await event(closed)
            assert stream.closed
            assert await stream.read() == b""
            assert await collect(far) == b"last words"
            assert far.closed

    run(main)


def test_reset_ends_both_ends_after_what_was_sent_before(run: Run) -> None:
    async def main() -> None:
        arrived: asyncio.Queue[Stream] = asyncio.Queue()
        async with tunnels(lambda stream, head: arrived.put_nowait(stream)) as (first, _):
            stream = first.open(b"")
            await stream.write(b"before")
            stream.refuse(b"why")
            assert stream.closed
            far = await arrived.get()
            assert await far.read() == b"before"
            for attempt in (far.read(), far.write(b"x"), far.accepted()):
                with pytest.raises(StreamRefused) as refused:
                    await attempt
                assert refused.value.payload == b"why"
            far.refuse(b"again")

    run(main)


def test_lost_link_refuses_every_waiter(run: Run) -> None:
    async def main() -> None:
        async with tunnels(ignore) as (first, second):
            stream = first.open(b"")
            waits = [first.ask(b"x") for _ in range(5)] + [stream.read(), first.fetch(b"y")]
            waiting = [asyncio.ensure_future(wait) for wait in waits]
            writing = asyncio.ensure_future(stream.write(bytes(2 * WINDOW)))
            await asyncio.sleep(0)
            second.close()
            for waiter in (*waiting, writing):
                with pytest.raises(TunnelLost) as lost:
                    await waiter
                assert lost.value.payload == b""
            async with asyncio.timeout(10):
                await first.lost
            assert stream.closed
            with pytest.raises(TunnelLost):
                await first.ask(b"late")

    run(main)


def test_last_words_before_close_arrive(run: Run) -> None:
    async def main() -> None:
        async with tunnels(ignore) as (first, second):
            question = asyncio.ensure_future(first.ask(b""))
            await second.ask(b"")
            stream = second.open(b"")
            stream.refuse(b"bye")
            second.close()
            with pytest.raises(TunnelLost):
                await question

    async def answered() -> None:
        def refuse_and_close(stream: Stream, head: bytes) -> None:
            stream.refuse(b"I am leaving")
            ends[1].close()

        async with tunnels(refuse_and_close) as ends:
            with pytest.raises(StreamRefused) as refused:
                await ends[0].ask(b"")
            assert refused.value.payload == b"I am leaving"

    run(answered)


def test_what_is_said_before_attach_is_sent(run: Run) -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        first = Tunnel(initiator=True, on_stream=ignore)
        second = Tunnel(initiator=False, on_stream=lambda stream, head: stream.accept(head))
        question = asyncio.ensure_future(first.ask(b"early"))
        await asyncio.sleep(0)
        await first.attach(here)
        await second.attach(there)
        assert await question == b"early"
        first.close()
        second.close()

    run(main)


@pytest.mark.parametrize("who", ["the peer", "we"])
def test_link_that_ends_while_it_begins_closes_its_descriptor_once(run: Run, who: str) -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        tunnel = Tunnel(initiator=True, on_stream=ignore)
        if who == "the peer":
            there.close()
        else:
            asyncio.get_running_loop().call_soon(tunnel.close)
        await tunnel.attach(here)
        await tunnel.lost
        # Else whoever has the number next loses it when `here` is collected.
        for _ in range(10):  # turns in which the loop closes it
            await asyncio.sleep(0)
        assert here.fileno() == -1
        there.close()

    run(main)


@pytest.mark.slow
def test_both_ends_hear_each_other_without_traffic(run: Run) -> None:
    async def main() -> None:
        async with tunnels(ignore) as (first, second):
            since = asyncio.get_running_loop().time()
            await asyncio.sleep(3 * PING_EVERY_S)
            assert min(first.last_heard, second.last_heard) > since + PING_EVERY_S

    run(main)


@pytest.mark.slow
def test_more_streams_than_the_limit_are_refused_and_the_link_lives(run: Run) -> None:
    async def main() -> None:
        async with tunnels(accept) as (first, _):
            streams = [first.open(b"") for _ in range(MAX_STREAMS)]
            with pytest.raises(StreamRefused):
                await first.open(b"").accepted()
            await streams[-1].accepted()
            streams[0].refuse()
            await first.open(b"").accepted()

    run(main)


@pytest.mark.parametrize("said", [b"\xff" * 40, encode(3, Kind.DATA, b"x"), HEADER.pack(1, Kind.OPEN, MAX_PAYLOAD + 1)])
def test_peer_that_breaks_the_rules_loses_the_link(run: Run, said: bytes) -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        tunnel = Tunnel(initiator=True, on_stream=ignore)
        await tunnel.attach(here)
        there.send(said)
        async with asyncio.timeout(10):
            await tunnel.lost
        there.close()

    run(main)


@pytest.mark.slow
def test_peer_that_never_reads_is_dropped(run: Run) -> None:
    """It opens streams whose refusals it does not read: what we hold for it has a bound."""

    async def main() -> None:
        here, there = socket.socketpair()
        tunnel = Tunnel(initiator=False, on_stream=lambda stream, head: stream.refuse(bytes(1000)))
        await tunnel.attach(here)
        there.setblocking(False)
        loop = asyncio.get_running_loop()
        frames = b"".join(encode(number, Kind.OPEN) for number in range(1, 1_000_001, 2))
        with pytest.raises(ConnectionError):
            await loop.sock_sendall(there, frames)
        assert tunnel.lost.done()
        there.close()

    run(main)
