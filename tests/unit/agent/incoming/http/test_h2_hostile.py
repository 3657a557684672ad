"""Clients and sides of HTTP/2 that break the rules or ask too much."""

import random

import pytest
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http import hpack
from inpod.agent.incoming.http.first import PREFACE
from inpod.agent.incoming.http.h2_limits import MOST_STREAMS, MOST_UNREAD, ROOM, SIDE_ROOM, STREAM_ROOM, Bucket, Held
from tests.unit.agent.incoming.http.h2_peers import Server, World

ONE, BODY = (b"x-for", b"one"), (b"x-for", b"body")
GET = ((b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"here"))


def request(number: int, *more: tuple[bytes, bytes], flags: int = 0) -> bytes:
    return frames.headers(flags, number, hpack.encode((*GET, *more)))


def silent(server: Server) -> None:
    server.answers = False


def side_says(world: World, server: Server, data: bytes) -> None:
    """Let a side send bytes that its library would not. The library hears of nothing any more."""
    server.is_raw = True
    world.exchange.side_data(next(side for side, other in world._pairs if other is server), data)
    world.run()


# What ends a client's connection.

CONNECTION_ERRORS: dict[str, tuple[bytes, int]] = {
    "no SETTINGS first": (request(1), frames.PROTOCOL_ERROR),
    "acknowledgement first": (frames.frame(frames.SETTINGS, frames.ACK, 0), frames.PROTOCOL_ERROR),
    "even stream": (frames.settings({}) + request(2), frames.PROTOCOL_ERROR),
    "DATA of no stream yet": (frames.settings({}) + frames.frame(frames.DATA, 0, 1), frames.PROTOCOL_ERROR),
    "RST_STREAM of no stream yet": (frames.settings({}) + frames.rst_stream(1, 0), frames.PROTOCOL_ERROR),
    "WINDOW_UPDATE of no stream yet": (frames.settings({}) + frames.window_update(1, 1), frames.PROTOCOL_ERROR),
    "WINDOW_UPDATE of 0": (frames.settings({}) + frames.window_update(0, 0), frames.PROTOCOL_ERROR),
    "window over 2^31": (frames.settings({}) + frames.window_update(0, frames.MAX_WINDOW), frames.FLOW_CONTROL_ERROR),
    "PUSH_PROMISE": (frames.settings({}) + request(1) + frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), frames.PROTOCOL_ERROR),
    "frame too large": (frames.settings({}) + b"\0\x40\x01\0\0\0\0\0\1", frames.FRAME_SIZE_ERROR),
    "broken header block": (frames.settings({}) + frames.headers(0, 1, b"\xbe"), frames.COMPRESSION_ERROR),
    "header list too large": (
        frames.settings({}) + frames.headers(0, 1, b"\x40\x01a\x7f\xbd\x1e" + b"b" * 4028 + b"\xbe" * 100),
        frames.ENHANCE_YOUR_CALM,
    ),
    "endless CONTINUATIONs": (
        frames.settings({}) + frames.frame(frames.HEADERS, 0, 1) + frames.frame(frames.CONTINUATION, 0, 1) * 1000,
        frames.ENHANCE_YOUR_CALM,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTION_ERRORS)
def test_broken_connection_ends_with_its_code(name: str) -> None:
    data, code = CONNECTION_ERRORS[name]
    world = World()
    world.is_raw = True
    world.raw(PREFACE + data)
    assert [code for code, _ in world.client.goaways] == [code]
    assert world.is_finished
    assert world.exchange.streams == {}
    assert all(server.is_closed for servers in world.servers.values() for server in servers)
    # Nothing that comes now counts.
    seen = world.counts.seen
    world.exchange.client_data(request(101))
    assert (world.counts.seen, len(world.client.goaways)) == (seen, 1)


def test_wrong_preface_ends_the_connection() -> None:
    world = World()
    world.exchange.client_data(PREFACE[:10])
    world.exchange.client_data(b"GET / HTTP/1.1\r\n\r\n")
    assert world.is_finished


# What ends one stream.

STREAM_ERRORS: dict[str, tuple[bytes, int]] = {
    "DATA after the end": (request(1, flags=1) + frames.frame(frames.DATA, 0, 1, b"a"), frames.STREAM_CLOSED),
    "HEADERS after the end": (request(1, flags=1) + request(1, flags=1), frames.STREAM_CLOSED),
    "second head": (request(1) + request(1), frames.PROTOCOL_ERROR),
    "malformed request": (request(1, (b"A", b"")), frames.PROTOCOL_ERROR),
    "malformed trailers": (request(1) + request(1, flags=1), frames.PROTOCOL_ERROR),
    "WINDOW_UPDATE of 0": (request(1) + frames.window_update(1, 0), frames.PROTOCOL_ERROR),
    "window over 2^31, of a stream that waits": (
        request(1, BODY) + frames.window_update(1, frames.MAX_WINDOW) + frames.window_update(1, 1),
        frames.FLOW_CONTROL_ERROR,
    ),
    "more than the stream's window": (
        request(1, BODY, (b"x", b"y")) + frames.frame(frames.DATA, 0, 1, bytes(16384)) * 3
        + frames.frame(frames.DATA, 0, 1, bytes(16383)) + frames.frame(frames.DATA, 0, 1, bytes(1)),
        frames.FLOW_CONTROL_ERROR,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM_ERRORS)
def test_broken_stream_ends_alone(name: str) -> None:
    data, code = STREAM_ERRORS[name]
    world = World()
    world.on_server = silent
    world.raw(data + request(3, ONE, flags=1))
    assert 1 not in world.exchange.streams
    assert 3 in world.exchange.streams
    assert world.client.got[1].reset == code
    assert not world.is_finished
    assert world.held.size == 0


# Floods.


def test_requests_taken_back_at_once_are_bounded() -> None:
    world = World()
    world.on_server = silent
    world.run()
    for number in range(1, 2 * 5000, 2):
        world.exchange.client_data(request(number) + frames.rst_stream(number, frames.CANCEL))
        if world.is_finished:
            break
    world.run()
    assert [code for code, _ in world.client.goaways] == [frames.ENHANCE_YOUR_CALM]
    assert 1000 <= world.counts.seen <= 1001


def test_requests_taken_back_slowly_are_not() -> None:
    world = World()
    world.on_server = silent
    world.run()
    for number in range(1, 2 * 5000, 2):
        world.time += 0.01
        world.exchange.client_data(request(number) + frames.rst_stream(number, frames.CANCEL))
    assert not world.is_finished
    assert world.counts.seen == 5000
    assert world.exchange.streams == {}


@pytest.mark.parametrize(
    "data",
    [
        frames.frame(frames.PING, 0, 0, bytes(8)),
        frames.settings({}),
        frames.frame(frames.PRIORITY, 0, 3, bytes(5)),
        frames.frame(frames.DATA, 0, 1),
        frames.frame(0x77, 0, 0, b"unknown"),
    ],
    ids=["PING", "SETTINGS", "PRIORITY", "DATA", "unknown"],
)
@pytest.mark.parametrize("whose", ["client", "side"])
def test_frames_that_say_nothing_are_bounded(data: bytes, whose: str) -> None:
    world = World()
    world.on_server = silent
    world.raw(request(1))
    server = world.server("original")
    for _ in range(40):
        if whose == "client":
            world.exchange.client_data(data * 500)
        else:
            side_says(world, server, data * 500)
    if whose == "client":
        assert world.is_finished
    else:
        assert server.is_closed


def test_pings_are_answered() -> None:
    world = World()
    world.raw(frames.frame(frames.PING, 0, 0, b"12345678"))
    assert frames.frame(frames.PING, frames.ACK, 0, b"12345678") in world.to_client
    server_ping = frames.frame(frames.PING, 0, 0, b"abcdefgh")
    world.raw(request(1))
    server = world.server("original")
    side_says(world, server, server_ping)
    assert frames.frame(frames.PING, frames.ACK, 0, b"abcdefgh") in server.received


def test_settings_that_nobody_agrees_to_are_bounded() -> None:
    world = World()
    world.ask(b"/", ends=False)
    world.run()
    for size in range(60_000, 59_900, -1):
        world.exchange.client_data(frames.settings({frames.INITIAL_WINDOW_SIZE: size}))
    assert world.is_finished


def test_requests_at_a_time_are_bounded() -> None:
    world = World()
    world.on_server = silent
    world.raw(b"".join(request(number) for number in range(1, 2 * MOST_STREAMS + 20, 2)))
    assert len(world.exchange.streams) == MOST_STREAMS
    assert not world.is_finished
    assert world.to_client.count(frames.rst_stream(2 * MOST_STREAMS + 1, frames.REFUSED_STREAM)) == 1


def test_bytes_that_wait_are_bounded_for_a_client() -> None:
    world = World(held=Held(10**9))
    world.settings = {"original": {SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}}
    world.on_server = silent
    numbers = [world.ask(b"/", ends=False) for _ in range(100)]
    world.run()
    world.fill(world.server("original"), True)
    for number in numbers:
        world.client.send(number, bytes(2 * STREAM_ROOM))
    world.run()
    assert world.held.size <= ROOM


def test_bytes_that_wait_are_bounded_for_all() -> None:
    world = World(held=Held(100_000))
    world.on_server = silent
    numbers = [world.ask(b"/", ends=False) for _ in range(5)]
    world.run()
    world.fill(world.server("original"), True)
    for number in numbers:
        world.client.send(number, bytes(60_000))
    world.run()
    assert world.held.size <= 100_000
    ended = [number for number in numbers if world.client.got[number].reset is not None]
    assert len(ended) == 4
    assert {world.client.got[number].reset for number in ended} == {frames.ENHANCE_YOUR_CALM}
    world.fill(world.server("original"), False)
    world.run()
    assert world.held.size == 0


def test_tiny_pieces_that_wait_are_kept_together() -> None:
    world = World()
    number = world.ask(b"/", BODY, ends=False)
    world.run()
    for _ in range(20_000):
        world.exchange.client_data(frames.frame(frames.DATA, 0, number, b"a"))
    queue = world.exchange.streams[number].requests
    assert queue is not None
    assert sum(len(payload) for _, _, payload in queue) == 20_000
    assert len(queue) < 40


def test_answers_to_a_client_without_a_window_are_bounded() -> None:
    world = World(client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})

    def generous(server: Server) -> None:
        server.extra = bytes(300_000)

    world.on_server = generous
    world.client.reads = False
    numbers = [world.ask(b"/") for _ in range(20)]
    world.run()
    assert 0 < world.held.size <= SIDE_ROOM
    for _ in range(2000):
        world.client.read()
        world.client.reads = False
        world.run()
        if all(world.client.got[number].has_ended for number in numbers):
            break
    assert all(world.client.got[number].body == bytes(300_000) for number in numbers)
    assert world.held.size == 0


def test_client_that_goes_while_answers_wait_leaves_nothing() -> None:
    world = World()

    def generous(server: Server) -> None:
        server.extra = bytes(300_000)

    world.on_server = generous
    world.client.reads = False
    for _ in range(5):
        world.ask(b"/")
    world.run()
    world.exchange.client_lost()
    assert world.held.size == 0


def test_stream_that_waits_for_the_client_does_not_hold_up_others() -> None:
    world = World(client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 10})

    def generous(server: Server) -> None:
        server.extra = bytes(100)

    world.on_server = generous
    world.client.reads = False
    stalled = world.ask(b"/")
    world.run()
    world.client.reads = True
    other = world.ask(b"/")
    world.run()
    assert world.client.got[stalled].body == bytes(10)
    assert world.client.got[other].body == bytes(100)


def test_side_that_takes_nothing_and_asks_much_is_ended() -> None:
    world = World()
    world.on_server = silent
    number = world.ask(b"/", ends=False)
    world.run()
    server = world.server("original")
    world.fill(server, True)
    for _ in range(MOST_UNREAD // 100 + 1):
        world.exchange.client_data(frames.window_update(number, 1) * 100)
    assert server.is_closed
    world.run()
    assert world.client.got[number].reset == frames.INTERNAL_ERROR


# Sides.

OK = hpack.encode(((b":status", b"200"),))
SIDE_ERRORS: dict[str, bytes] = {
    "HTTP/1.1": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "greeting": b"220 mail.example.com ESMTP ready to take your message\r\n",
    "no SETTINGS first": frames.headers(1, 1, OK),
    "push": frames.settings({}) + frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(4) + OK),
    "takes pushes": frames.settings({frames.ENABLE_PUSH: 1}),
    "stream that we did not open": frames.settings({}) + frames.headers(0, 3, OK),
    "even stream": frames.settings({}) + frames.headers(0, 2, OK),
    "broken header block": frames.settings({}) + frames.headers(0, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
    "DATA before HEADERS": frames.settings({}) + frames.frame(frames.DATA, 0, 1, b"a"),
    "DATA after the end": frames.settings({}) + frames.headers(1, 1, OK) + frames.frame(frames.DATA, 0, 1, b"a"),
    "HEADERS after the end": frames.settings({}) + frames.headers(1, 1, OK) + frames.headers(1, 1, OK),
    "acknowledges too much": frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0) * 2,
    "window over 2^31": frames.settings({}) + frames.window_update(0, frames.MAX_WINDOW),
    "window of 0": frames.settings({}) + frames.window_update(1, 0),
    "more than the connection's window": frames.settings({})
    + frames.headers(0, 1, OK) + frames.frame(frames.DATA, 0, 1, bytes(16384)) * 65,
    "header list too large": frames.settings({})
    + frames.headers(0, 1, b"\x40\x01a\x7f\xbd\x1e" + b"b" * 4028 + b"\xbe" * 100),
}  # fmt: skip


@pytest.mark.parametrize("name", SIDE_ERRORS)
@pytest.mark.parametrize("whose", ["original", "one"])
def test_side_that_breaks_the_rules_ends_alone(name: str, whose: str) -> None:
    world = World()
    world.on_server = silent
    theirs = world.ask(b"/", (b"x-for", b"two"), ends=False)
    ours = world.ask(b"/", (b"x-for", whose.encode()), ends=False)
    if SIDE_ERRORS[name].startswith(frames.settings({})):
        world.run()
        side_says(world, world.server(whose), SIDE_ERRORS[name][9:])
    else:

        def silent_and_raw(server: Server) -> None:
            server.answers, server.is_raw = False, server.name == whose

        # It says this instead of what its library would.
        world.on_server = silent_and_raw
        world.run()
        side_says(world, world.server(whose), SIDE_ERRORS[name])
    assert world.server(whose).is_closed
    assert ours not in world.exchange.streams or world.exchange.streams[ours].answer_ended
    assert theirs in world.exchange.streams
    assert not world.is_finished
    # The others go on.
    world.client.h2.end_stream(theirs)
    world.run()
    world.server("two").answer(1)
    world.run()
    assert world.client.got[theirs].has_ended


def test_program_s_wrong_header_block_does_not_reach_the_client() -> None:
    world = World()
    number = world.ask(b"/", ONE)
    world.run()
    assert world.client.got[number].has_ended
    again = world.ask(b"/", ONE, ends=False)
    world.run()
    # A table's size within a block: the client would have to end the whole connection.
    side_says(world, world.server("one"), frames.headers(0, 3, OK + b"\x20"))
    assert world.client.got[again].reset == frames.INTERNAL_ERROR
    number = world.ask(b"/")
    world.run()
    assert world.client.got[number].has_ended


def test_bucket_lets_through_its_burst_and_its_rate() -> None:
    bucket = Bucket(10, 5)
    assert [bucket.take(100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [bucket.take(100.4) for _ in range(3)] == [True, True, False]
    assert [bucket.take(200.0) for _ in range(12)] == [True] * 10 + [False] * 2


# Whatever there is.

whole_frames = st.builds(
    frames.frame,
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x2D]),
    st.sampled_from([0, 1, 1, 3, 5, 2]),
    st.one_of(
        st.just(hpack.encode(GET)),
        st.just(hpack.encode((*GET, ONE))),
        st.just(hpack.encode((*GET, BODY))),
        st.just(OK),
        st.binary(max_size=12),
        st.sampled_from([bytes(4), b"\0\0\0\1", bytes(8), b"\0\4\0\0\0\x0a", b"\0\4\0\1\0\0", bytes(16384)]),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.booleans(), whole_frames), max_size=30), st.integers(0, 2**16))
def test_any_frames_of_both_ends_leave_nothing_behind(said: list[tuple[bool, bytes]], seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    world.on_server = silent
    world.run()
    sides = world._pairs
    world.is_raw = True
    begun: set[Server] = set()
    for is_client, data in said:
        if is_client or not sides:
            world.exchange.client_data(data)
        else:
            side, server = chance.choice(sides)
            if server not in begun and chance.random() < 0.9:
                begun.add(server)
                world.exchange.side_data(side, frames.settings({}))
            world.exchange.side_data(side, data)
        world._open()
        if chance.random() < 0.1 and sides:
            world.exchange.side_is_full(chance.choice(sides)[0], chance.random() < 0.5)
    for timer in world.timers:
        if not timer.is_cancelled:
            timer.callback()
    for side, _ in list(sides):
        world.exchange.side_lost(side)
    world.exchange.client_lost()
    assert world.exchange.streams == {}
    assert world.held.size == 0
    assert all(server.is_closed for _, server in sides)
