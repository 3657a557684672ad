"""How requests and connections of HTTP/2 end: taken back, refused, lost, going away."""

from h2.settings import SettingCodes

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_limits import MOST_SIDES
from tests.unit.agent.incoming.http.h2_peers import Server
from tests.unit.agent.incoming.http.h2_world import World, assert_quiet, silent, who

ONE, TWO, BODY = (b"x-for", b"one"), (b"x-for", b"two"), (b"x-for", b"body")


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
    world.on_server = silent
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
    world.on_server = silent
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


def test_side_that_is_going_is_not_given_what_waited_for_it() -> None:
    world = World()
    world.settings = {"one": {SettingCodes.MAX_CONCURRENT_STREAMS: 2}}
    world.on_server = silent
    asked = [world.ask(b"/%d" % number, ONE) for number in range(4)]
    world.run()
    first = world.server("one")
    side = next(side for side, server in world._pairs if server is first)
    # Its second request is refused, which makes room for one more.
    world.exchange.side_data(side, frames.goaway(1, frames.NO_ERROR))
    world.run()
    assert world.client.got[asked[1]].reset == frames.REFUSED_STREAM
    assert sorted(first.got) == [1, 3]
    second = world.server("one")
    assert sorted(second.got) == [1, 3]
    first.answer(1)
    second.answer(1)
    second.answer(3)
    world.run()
    assert [who(world, number) for number in (asked[0], *asked[2:])] == ["one"] * 3
    assert first.is_closed
    assert_quiet(world)


def test_sides_that_all_are_going_are_bounded() -> None:
    world = World()
    world.on_server = silent
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
