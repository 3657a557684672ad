"""Streams of one HTTP/2 connection among an original and sessions, with another implementation at all ends."""

import random

import pytest
from h2.settings import SettingCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_limits import MAX_BODY, MOST_SIDES, SETTINGS_LIMIT_S, Held
from tests.unit.agent.incoming.http.h2_peers import Server, World

ONE, TWO, BODY = (b"x-for", b"one"), (b"x-for", b"two"), (b"x-for", b"body")


def who(world: World, number: int) -> str:
    return dict(world.client.got[number].fields).get(b"x-who", b"").decode()


def assert_quiet(world: World) -> None:
    """Nothing is left of what was asked."""
    assert world.exchange.streams == {}
    assert world.held.size == 0
    for servers in world.servers.values():
        assert not any(server.h2.open_inbound_streams for server in servers if not server.is_closed)


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


@settings(max_examples=60, deadline=None)
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


# Ends.


def test_resets_pass_both_ways() -> None:
    world = World()
    numbers = [world.ask(b"/", *extra, ends=False) for extra in ((), (ONE,))]
    world.run()
    world.client.h2.reset_stream(numbers[0], frames.CANCEL)
    world.server("one").h2.reset_stream(1, frames.ENHANCE_YOUR_CALM)
    world.run()
    assert world.server("original").got[1].reset == frames.CANCEL
    assert world.client.got[numbers[1]].reset == frames.ENHANCE_YOUR_CALM
    assert_quiet(world)


def test_answer_before_the_end_of_the_request_arrives_whole() -> None:
    world = World(client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 1_000_000})

    def refuse(server: Server) -> None:
        def answer(number: int, _: object) -> None:
            server.h2.send_headers(number, [(b":status", b"413")])
            server.send(number, bytes(300_000))

        server.on_request = answer

    world.on_server = refuse
    world.client.reads = False
    number = world.ask(b"/", ends=False)
    world.run()
    # The client's connection has a window of 65535, so the rest waits; the reset waits behind it.
    world.server("original").h2.reset_stream(1, frames.NO_ERROR)
    world.run()
    assert len(world.client.got[number].body) == 65535
    assert world.client.got[number].reset is None
    while not world.client.got[number].has_ended:
        before = len(world.client.got[number].body)
        world.client.read()
        world.run()
        assert len(world.client.got[number].body) > before
    assert world.client.got[number].body == bytes(300_000)
    assert world.client.got[number].reset == frames.NO_ERROR
    assert_quiet(world)


def test_refused_session_leaves_its_requests_to_the_original() -> None:
    world = World()
    world.refuses = {"one"}
    numbers = [world.ask(b"/%d" % number, ONE) for number in range(5)]
    world.run()
    assert [who(world, number) for number in numbers] == ["original"] * 5
    assert (world.counts.matched, world.counts.passed) == (0, 5)
    # It is asked again.
    world.refuses = set()
    number = world.ask(b"/", ONE)
    world.run()
    assert who(world, number) == "one"


def test_refused_original_leaves_its_requests_to_be_asked_again() -> None:
    world = World()
    world.refuses = {"original"}
    theirs, ours = world.ask(b"/"), world.ask(b"/", ONE)
    world.run()
    assert world.client.got[theirs].reset == frames.REFUSED_STREAM
    assert who(world, ours) == "one"
    assert_quiet(world)


def test_lost_side_ends_its_own_requests_only() -> None:
    world = World()

    def wait(server: Server) -> None:
        server.answers = False

    world.on_server = wait
    theirs, ours = world.ask(b"/"), world.ask(b"/", ONE)
    world.run()
    world.lose(world.server("one"))
    assert world.client.got[ours].reset == frames.INTERNAL_ERROR
    assert world.client.got[theirs].reset is None
    assert not world.client.goaways
    world.server("original").answer(1)
    world.run()
    assert who(world, theirs) == "original"
    again = world.ask(b"/", ONE)
    world.run()
    world.server("one").answer(1)
    world.run()
    assert who(world, again) == "one"
    assert len(world.servers["one"]) == 2
    assert_quiet(world)


def test_end_of_the_original_is_passed_on_once_nothing_is_asked() -> None:
    world = World()

    def wait(server: Server) -> None:
        server.answers = server.name == "original"

    world.on_server = wait
    ours = world.ask(b"/", ONE)
    world.ask(b"/")
    world.run()
    world.lose(world.server("original"))
    assert world.client.goaways == [(frames.NO_ERROR, frames.MAX_STREAM)]
    assert not world.is_finished
    world.server("one").answer(1)
    world.run()
    assert who(world, ours) == "one"
    assert world.is_finished
    assert world.server("one").is_closed


def test_side_that_is_going_gets_no_more_requests() -> None:
    world = World()

    def wait(server: Server) -> None:
        server.answers = False

    world.on_server = wait
    asked = [world.ask(b"/%d" % number, ONE) for number in range(3)]
    world.run()
    first = world.server("one")
    # By hand: the library closes the whole connection with its GOAWAY.
    side = next(side for side, server in world._pairs if server is first)
    world.exchange.side_data(side, frames.goaway(3, frames.NO_ERROR))
    world.run()
    assert world.client.got[asked[2]].reset == frames.REFUSED_STREAM
    again = world.ask(b"/again", ONE)
    world.run()
    assert not first.is_closed
    first.answer(1)
    first.answer(3)
    world.server("one").answer(1)
    world.run()
    assert [who(world, number) for number in (asked[0], asked[1], again)] == ["one"] * 3
    assert first.is_closed
    assert len(world.servers["one"]) == 2
    # The client's connection is none of it.
    assert not world.client.goaways
    assert_quiet(world)


def test_sides_that_all_are_going_are_bounded() -> None:
    world = World()

    def wait(server: Server) -> None:
        server.answers = False

    world.on_server = wait
    for _ in range(MOST_SIDES):
        world.ask(b"/", ONE)
        world.run()
        side = next(side for side, server in world._pairs if server is world.server("one"))
        world.exchange.side_data(side, frames.goaway(1, frames.NO_ERROR))
    number = world.ask(b"/", ONE)
    world.run()
    assert len(world.servers["one"]) == MOST_SIDES
    assert world.client.got[number].reset == frames.REFUSED_STREAM


def test_client_that_is_gone_ends_all() -> None:
    world = World()
    number = world.ask(b"/", ends=False)
    world.ask(b"/", BODY, ends=False)
    world.client.h2.send_data(number, bytes(1000))
    world.run()
    world.exchange.client_lost()
    assert world.server("original").is_closed
    assert all(timer.is_cancelled for timer in world.timers)
    assert (world.exchange.streams, world.held.size) == ({}, 0)


# What the ends tell each other.


def test_no_side_gets_more_requests_than_it_takes() -> None:
    world = World()
    world.settings = {"one": {SettingCodes.MAX_CONCURRENT_STREAMS: 2}}
    open_at_once: list[int] = []

    def wait(server: Server) -> None:
        server.answers = False
        server.on_request = lambda number, _: open_at_once.append(server.h2.open_inbound_streams)

    world.on_server = wait
    numbers = [world.ask(b"/%d" % number, ONE) for number in range(7)]
    world.run()
    server = world.server("one")
    for number in range(1, 14, 2):
        assert max(open_at_once) <= 2
        server.answer(number)
        world.run()
    assert [dict(world.client.got[number].fields)[b"x-path"] for number in numbers] == [
        b"/%d" % number for number in range(7)
    ]
    assert_quiet(world)


def test_request_that_is_taken_back_while_it_waits_is_never_sent() -> None:
    world = World()
    world.settings = {"one": {SettingCodes.MAX_CONCURRENT_STREAMS: 1}}

    def wait(server: Server) -> None:
        server.answers = False

    world.on_server = wait
    first, second, third = (world.ask(b"/%d" % number, ONE) for number in range(3))
    world.run()
    world.client.h2.reset_stream(second)
    world.run()
    server = world.server("one")
    server.answer(1)
    world.run()
    server.answer(3)
    world.run()
    assert [dict(message.fields)[b":path"] for message in server.got.values()] == [b"/0", b"/2"]
    assert (who(world, first), who(world, third)) == ("one", "one")
    assert_quiet(world)


def test_client_is_told_what_the_original_takes() -> None:
    world = World()
    world.settings = {"original": {SettingCodes.MAX_CONCURRENT_STREAMS: 7, SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}}
    world.run()
    assert world.client.h2.remote_settings.max_concurrent_streams == 100
    assert world.client.h2.remote_settings.enable_connect_protocol == 0
    world.ask(b"/")
    world.run()
    assert world.client.h2.remote_settings.max_concurrent_streams == 7
    assert world.client.h2.remote_settings.enable_connect_protocol == 1


def test_extended_connect_is_a_request_like_others() -> None:
    world = World()
    world.settings = {"original": {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}}
    world.ask(b"/")
    world.run()
    number = world.ask(b"/chat", (b":protocol", b"websocket"), ONE, ends=False, method=b"CONNECT")
    world.client.send(number, b"frames")
    world.run()
    head = world.filters.asked[-1][0]
    assert (head.method, head.target) == (b"CONNECT", b"/chat")
    assert (b":protocol", b"websocket") in world.server("one").got[1].fields
    assert world.client.got[number].body == b"frames"


def test_smaller_windows_count_once_the_sides_know() -> None:
    world = World(client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 100_000})
    world.ask(b"/")
    world.run()
    server = world.server("original")
    world.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    data = world.client.h2.data_to_send()
    world.exchange.client_data(data)
    # Until the original agreed, the client is not told that we do.
    assert frames.frame(frames.SETTINGS, frames.ACK, 0) not in world._to_client
    world.run()
    assert world.client.h2.local_settings.initial_window_size == 10
    assert server.h2.remote_settings.initial_window_size == 10
    server.extra = bytes(500)
    number = world.ask(b"/")
    world.run()
    assert world.client.got[number].body == bytes(500)


def test_side_that_does_not_agree_is_given_up() -> None:
    world = World(client_settings={SettingCodes.INITIAL_WINDOW_SIZE: 100_000})
    world.ask(b"/", ONE, ends=False)
    world.run()
    one = world.server("one")
    world.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    world.exchange.client_data(world.client.h2.data_to_send())
    world.time += SETTINGS_LIMIT_S
    for timer in world.timers:
        if not timer.is_cancelled:
            timer.callback()
    assert one.is_closed
    world.run()
    assert world.client.h2.local_settings.initial_window_size == 10


def test_side_that_keeps_a_table_is_understood() -> None:
    world = World()

    def keep_table(server: Server) -> None:
        # As one that does not heed SETTINGS_HEADER_TABLE_SIZE.
        server.on_event = lambda event: setattr(server.h2.encoder, "header_table_size", 4096)

    for name in (b"", b"one"):
        world.on_server = keep_table
        numbers = [world.ask(b"/same", (b"x-for", name)) for _ in range(5)]
        world.run()
        assert [dict(world.client.got[number].fields)[b"x-path"] for number in numbers] == [b"/same"] * 5
        world.client.h2.decoder.decode(b"")  # the client's table was not spoiled


def test_full_side_holds_up_nobody_else() -> None:
    held = Held()
    world = World(held=held)
    theirs, ours = world.ask(b"/", ends=False), world.ask(b"/", ONE, ends=False)
    world.run()
    world.fill(world.server("one"), True)
    world.client.send(ours, bytes(500_000))
    world.client.send(theirs, bytes(500_000))
    late = world.ask(b"/late", ONE)
    world.run()
    assert world.client.got[theirs].body == bytes(500_000)
    assert 0 < held.size <= 65535
    world.fill(world.server("one"), False)
    world.run()
    assert world.client.got[ours].body == bytes(500_000)
    assert who(world, late) == "one"
    assert_quiet(world)
