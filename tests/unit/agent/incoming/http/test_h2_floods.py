"""Clients and sides of HTTP/2 that ask too much: what they may cost."""

import pytest
from h2.settings import SettingCodes

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_limits import MOST_STREAMS, MOST_UNREAD, ROOM, SIDE_ROOM, STREAM_ROOM, Bucket, Held
from tests.unit.agent.incoming.http.h2_peers import Server
from tests.unit.agent.incoming.http.h2_world import World, request, side_says, silent

ONE, BODY = (b"x-for", b"one"), (b"x-for", b"body")


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


def test_bucket_lets_through_its_burst_and_its_rate() -> None:
    bucket = Bucket(10, 5)
    assert [bucket.take(100.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [bucket.take(100.4) for _ in range(3)] == [True, True, False]
    assert [bucket.take(200.0) for _ in range(12)] == [True] * 10 + [False] * 2
