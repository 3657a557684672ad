"""Recorded connections of HTTP/2: what they ask and answer, however they are cut, and what damage does not do."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inpod.agent.incoming.http.h2_limits import BODY_LIMIT_S
from tests.unit.agent.incoming.h2_copy_world import Copied
from tests.unit.agent.incoming.http.h2_peers import Server
from tests.unit.agent.incoming.http.h2_world import World, assert_quiet, side_says, silent

CORPUS = Path(__file__).with_name("corpus") / "http2"
CLIENTS = {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.client"))}
SERVERS = {path.stem: path.read_bytes() for path in sorted(CORPUS.glob("*.server"))}

CALL = b"/test.Test/"
ASKED: dict[str, list[tuple[bytes, bytes]]] = {
    "curl": [(b"/b", b"one")],
    "grpcio": [(CALL + b"One", b"one"), (CALL + b"Many", b""), (CALL + b"Talk", b"one"), (CALL + b"Many", b"")],
    "h2load": [(b"/a", b"one")] * 4,
    "nghttp": [(b"/a", b"body"), (b"/b", b"body")],
    "node": [(b"/a", b"one"), (b"/taken-back/b", b"body"), (b"/d", b"")],
}
"""Path and x-for of the requests."""

ANSWERED = {
    "curl": [1],
    "grpcio": [1, 3, 5, 7],
    "h2load": [1, 3, 5, 7],
    "nghttp": [13, 15],
    "node": [1, 3, 5],
}
"""Streams."""

Damages = list[tuple[int, int, bytes]]
DAMAGES = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 3), st.binary(max_size=3)), max_size=3)
CUTS = st.integers(0, 100)


def damaged(data: bytes, damages: Damages) -> bytes:
    for place, removed, added in damages:
        at = place % (len(data) + 1)
        data = data[:at] + added + data[at + removed :]
    return data


def pieces(data: bytes, cut: int) -> list[bytes]:
    step = cut or len(data) or 1
    return [data[at : at + step] for at in range(0, len(data), step)]


def client_says(data: bytes, cut: int) -> World:
    world = World()
    world.is_raw = True
    world.on_server = silent
    for piece in pieces(data, cut):
        world.exchange.client_data(piece)
        world.run()
    return world


def played(server: Server) -> None:
    """What it says is said for it."""
    server.is_raw = True


@pytest.mark.parametrize("cut", [0, 1, 10])
@pytest.mark.parametrize("name", CLIENTS)
def test_client_asks_what_it_asked(name: str, cut: int) -> None:
    world = client_says(CLIENTS[name], cut)
    world.advance(BODY_LIMIT_S)
    first = [(head.target, dict(head.headers).get(b"x-for", b"")) for head, body in world.filters.asked]
    # Who looks at the body is asked twice.
    assert [asked for at, asked in enumerate(first) if asked not in first[:at] or asked[1] != b"body"] == ASKED[name]
    assert (world.client.goaways, world.is_finished) == ([], False)
    assert world.counts.seen == len(ASKED[name])


@pytest.mark.parametrize("cut", [0, 1, 10])
@pytest.mark.parametrize("name", CLIENTS)
def test_copy_of_a_client_has_what_is_matched(name: str, cut: int) -> None:
    copied = Copied(cut=cut)
    copied.write(CLIENTS[name])
    while copied.program_reads():
        pass
    assert copied.copy.lost is None
    assert set(copied.came()) == {path for path, wanted in ASKED[name] if wanted == b"one" or name == "nghttp"}
    copied.copy.finish()
    while copied.program_reads():
        pass
    copied.assert_quiet()


@pytest.mark.parametrize("cut", [0, 1, 10])
@pytest.mark.parametrize("name", SERVERS)
def test_server_answers_what_it_answered(name: str, cut: int) -> None:
    world = World()
    world.on_server = played
    for number in range(8):
        world.ask(b"/%d" % number)
    world.run()
    server = world.server("original")
    for piece in pieces(SERVERS[name], cut):
        side_says(world, server, piece)
    assert not server.is_closed
    got = world.client.got.items()
    statuses = {number: dict(message.fields)[b":status"] for number, message in got if message.fields}
    assert statuses == dict.fromkeys(ANSWERED[name], b"200")


@settings(max_examples=200)
@given(st.sampled_from(sorted(CLIENTS)), DAMAGES, CUTS)
@example("nghttp", [(225, 1, b"\x01")], 0)  # a length that is no number
def test_damaged_client_leaves_nothing_behind_and_is_decided_alike_however_cut(
    name: str, damages: Damages, cut: int
) -> None:
    data = damaged(CLIENTS[name], damages)
    worlds = client_says(data, 0), client_says(data, cut)
    assert worlds[0].filters.asked == worlds[1].filters.asked
    assert worlds[0].client.goaways == worlds[1].client.goaways
    for world in worlds:
        world.exchange.client_lost()
        assert_quiet(world)


@settings(max_examples=200)
@given(st.sampled_from(sorted(CLIENTS)), DAMAGES, CUTS)
@example("curl", [(320, 2, b"\x01\x00")], 0)  # a body longer than its content-length
def test_damaged_client_s_copy_is_correct_and_leaves_nothing_behind(name: str, damages: Damages, cut: int) -> None:
    """The program is another implementation, which raises what it must not be sent."""
    copied = Copied(cut=cut)
    copied.write(damaged(CLIENTS[name], damages))
    while copied.program_reads():
        pass
    copied.advance(BODY_LIMIT_S)
    copied.copy.finish()
    copied.copy.flush()
    while copied.program_reads():
        pass
    copied.assert_quiet()
    assert all(link.ended for link in copied.links)


@settings(max_examples=200)
@given(st.sampled_from(sorted(SERVERS)), DAMAGES, CUTS)
def test_damaged_server_ends_its_own_requests_only(name: str, damages: Damages, cut: int) -> None:
    world = World()
    world.on_server = lambda server: played(server) if server.name == "one" else None
    for number in range(8):
        world.ask(b"/%d" % number, (b"x-for", b"one"))
    world.run()
    for piece in pieces(damaged(SERVERS[name], damages), cut):
        side_says(world, world.servers["one"][0], piece)
    number = world.ask(b"/other")
    world.run()
    assert world.client.got[number].has_ended
    assert not world.is_finished
    world.exchange.client_lost()
    assert_quiet(world)
