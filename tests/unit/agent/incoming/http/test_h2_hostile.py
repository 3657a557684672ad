"""Clients and sides of HTTP/2 that break the rules or ask too much."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http import hpack
from inpod.protocol.agent import PREFACE
from tests.unit.agent.incoming.http.h2_peers import Server
from tests.unit.agent.incoming.http.h2_world import GET, World, request, side_says, silent

ONE, BODY = (b"x-for", b"one"), (b"x-for", b"body")


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


@pytest.mark.slow
@settings(max_examples=300)
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
