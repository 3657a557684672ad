"""Streams of one HTTP/2 connection among an original and sessions, with another implementation at all ends."""

import random

import pytest
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from inpod.agent.incoming.http.h2_limits import MAX_BODY
from tests.unit.agent.incoming.http.h2_peers import Server
from tests.unit.agent.incoming.http.h2_world import World, assert_quiet, who

ONE, TWO, BODY = (b"x-for", b"one"), (b"x-for", b"two"), (b"x-for", b"body")


def test_each_stream_reaches_whom_it_is_for() -> None:
    world = World()
    asked = {
        world.ask(b"/%d" % number, *extra): name
        for number in range(10)
        for extra, name in (((), "original"), ((ONE,), "one"), ((TWO,), "two"))
    }
    world.run()
    for number, name in asked.items():
        assert who(world, number) == name
        assert world.client.got[number].has_ended
    assert {name: len(servers) for name, servers in world.servers.items()} == {"original": 1, "one": 1, "two": 1}
    assert (world.counts.seen, world.counts.matched, world.counts.passed) == (30, 20, 10)
    assert_quiet(world)


def test_heads_are_given_as_http1_would_have_them() -> None:
    world = World()
    world.ask(b"/a?b=c", (b"cookie", b"a=1"), (b"x-y", b"z"), (b"cookie", b"b=2"), method=b"PUT")
    world.run()
    head, body = world.filters.asked[0]
    assert (head.method, head.target, body) == (b"PUT", b"/a?b=c", b"")
    assert head.headers == ((b"host", b"here"), (b"cookie", b"a=1; b=2"), (b"x-y", b"z"))
    # The original gets them as they were sent.
    assert world.server("original").got[1].fields[-3:] == [(b"cookie", b"a=1"), (b"x-y", b"z"), (b"cookie", b"b=2")]


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, int, bool, int]:
    """For whom, how long a body, whether with trailers, how much padding."""
    return (
        draw(st.sampled_from([b"", b"one", b"two", b"body"])),
        draw(st.one_of(st.integers(0, 300), st.integers(0, 200_000))),
        draw(st.booleans()),
        draw(st.sampled_from([0, 0, 1, 200])),
    )


windows = st.sampled_from([0, 1, 100, 16384, 65535, 1_000_000])


@pytest.mark.slow
@settings(max_examples=60)
@given(
    st.lists(requests(), min_size=1, max_size=8), st.integers(0, 2**32), windows.filter(bool),
    st.lists(windows.filter(lambda size: size > 50), min_size=3, max_size=3), st.booleans(),
)  # fmt: skip
def test_bodies_arrive_whole_however_cut_and_whatever_the_windows(
    asked: list[tuple[bytes, int, bool, int]], seed: int, window: int, server_windows: list[int], is_cut: bool
) -> None:
    chance = random.Random(seed)
    # Small windows make a frame of each byte.
    most = 2000 if window < 100 else 20_000 if window < 1000 else 200_000
    world = World(
        client_settings={SettingCodes.INITIAL_WINDOW_SIZE: window},
        cut=(lambda size: min(size, chance.choice((1, 9, 100, 5000, 100_000)))) if is_cut else (lambda size: size),
    )
    world.settings = {
        name: {SettingCodes.INITIAL_WINDOW_SIZE: size}
        for name, size in zip(("original", "one", "two"), server_windows, strict=True)
    }
    trailers = [(b"x-end", b"yes")]

    def with_trailers(server: Server) -> None:
        server.trailers = trailers

    world.on_server = with_trailers
    expected: dict[int, tuple[bytes, bytes]] = {}
    for name, size, has_trailers, padding in asked:
        size = min(size, most)
        number = world.ask(b"/up", (b"x-for", name), ends=False, method=b"POST")
        body = chance.randbytes(size)
        if name == b"body":
            body = b"two" + body
        world.client.send(number, body, trailers if has_trailers else None, padding=padding)
        expected[number] = (body, {b"": b"original", b"body": b"two"}.get(name, name))
    world.run()
    # A body that is neither whole nor at the bound is decided on when its time is over.
    world.advance(1)
    for number, (body, name) in expected.items():
        answer = world.client.got[number]
        assert answer.body == body
        assert answer.has_ended
        assert answer.trailers == trailers
        assert who(world, number).encode() == name
    ended = [message for servers in world.servers.values() for server in servers for message in server.got.values()]
    assert sum(message.trailers == trailers for message in ended) == sum(item[2] for item in asked)
    assert_quiet(world)


def test_long_bodies_pass_many_windows() -> None:
    world = World()
    body = random.Random(1).randbytes(3 * 1024 * 1024)
    numbers = [world.ask(b"/up", *extra, ends=False, method=b"POST") for extra in ((), (ONE,))]
    for number in numbers:
        world.client.send(number, body)
    world.run()
    assert all(world.client.got[number].body == body for number in numbers)
    assert_quiet(world)


# Bodies that filters look at.


@pytest.mark.parametrize(("body", "name"), [(b"for one", "one"), (b"for nobody", "original"), (b"", "original")])
def test_filter_sees_the_whole_body(body: bytes, name: str) -> None:
    world = World()
    number = world.ask(b"/", BODY, ends=False)
    world.run()
    assert not world.servers
    world.client.send(number, body)
    world.run()
    assert [asked[1] for asked in world.filters.asked] == [None, body]
    assert who(world, number) == name
    assert world.client.got[number].body == body
    assert_quiet(world)


def test_request_without_a_body_is_decided_at_once() -> None:
    world = World()
    number = world.ask(b"/", BODY)
    world.run()
    assert [asked[1] for asked in world.filters.asked] == [b""]
    assert who(world, number) == "original"


def test_body_that_does_not_come_is_decided_on_as_it_is() -> None:
    world = World()
    number = world.ask(b"/", BODY, ends=False)
    world.client.h2.send_data(number, b"for one")
    world.advance(0.9)
    assert not world.servers
    world.advance(0.2)
    assert world.filters.asked[1][1] == b"for one"
    world.client.send(number, b" and more")
    world.run()
    assert who(world, number) == "one"
    assert world.client.got[number].body == b"for one and more"
    assert_quiet(world)


def test_long_body_is_decided_on_at_the_bound() -> None:
    world = World()
    number = world.ask(b"/", BODY, ends=False)
    body = b"one" + bytes(300_000)
    world.client.send(number, body)
    world.run()
    assert world.filters.asked[1][1] == body[:MAX_BODY]
    assert (who(world, number), world.client.got[number].body) == ("one", body)
    assert_quiet(world)


def test_client_is_told_to_continue_when_a_filter_needs_the_body() -> None:
    world = World()
    number = world.ask(b"/", BODY, (b"expect", b"100-continue"), (b"x-last", b"1"), ends=False)
    world.run()
    assert world.client.got[number].informational == [[(b":status", b"100")]]
    world.client.send(number, b"one")
    world.run()
    got = dict(world.server("one").got[1].fields)
    assert (b"expect" in got, got[b"x-last"]) == (False, b"1")


def test_expectation_is_the_server_s_matter_otherwise() -> None:
    world = World()

    def go_on(server: Server) -> None:
        server.on_request = lambda number, _: server.h2.send_headers(number, [(b":status", b"100")])

    world.on_server = go_on
    number = world.ask(b"/", (b"expect", b"100-continue"), ends=False)
    world.run()
    assert world.client.got[number].informational == [[(b":status", b"100")]]
    assert dict(world.server("original").got[1].fields)[b"expect"] == b"100-continue"
