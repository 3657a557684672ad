"""What the ends of HTTP/2 tell each other: how much they take, and how."""

from h2.settings import SettingCodes

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http.h2_limits import SETTINGS_LIMIT_S, Held
from tests.unit.agent.incoming.http.h2_peers import Server
from tests.unit.agent.incoming.http.h2_world import World, assert_quiet, silent, who

ONE, TWO, BODY = (b"x-for", b"one"), (b"x-for", b"two"), (b"x-for", b"body")


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
    world.on_server = silent
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
