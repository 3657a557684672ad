"""Copies of HTTP/2: the program gets the matched streams, in HTTP/2 as it takes it, and nothing of the others."""

import pytest
from h2.settings import SettingCodes
from hypothesis import example, given, settings
from hypothesis import strategies as st

from inpod.agent.incoming.http import h2_frames as frames
from inpod.agent.incoming.http import hpack
from inpod.agent.incoming.http.h2_limits import BODY_LIMIT_S, MAX_BODY, MOST_STREAMS
from inpod.agent.incoming.mirror.copy import Room
from inpod.agent.incoming.mirror.h2_program import END_LIMIT_S
from inpod.protocol.agent import PREFACE
from tests.unit.agent.incoming.h2_copy_world import Copied
from tests.unit.agent.incoming.http.h2_peers import Message, Server, Values
from tests.unit.agent.incoming.http.h2_world import request, silent

MINE, BODY = (b"x-for", b"one"), (b"x-for", b"body")
KIB, MIB = 1024, 1024 * 1024

LITTLE: Values = {SettingCodes.INITIAL_WINDOW_SIZE: 100, SettingCodes.MAX_CONCURRENT_STREAMS: 2}
MUCH: Values = {SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1, SettingCodes.MAX_FRAME_SIZE: 2**24 - 1}


def wanted(copied: Copied) -> dict[bytes, Message]:
    """Return what of the original's requests is matched, by path."""
    messages = copied.original.got.values()
    return {dict(message.fields)[b":path"]: message for message in messages if MINE in message.fields}


@pytest.mark.parametrize("cut", [0, 1, 1000])
@pytest.mark.parametrize("program", [{}, LITTLE, MUCH], ids=["usual", "little", "much"])
@pytest.mark.parametrize("original", [{}, MUCH], ids=["usual original", "original takes much"])
def test_matched_streams_arrive_whole_and_others_never(cut: int, program: Values, original: Values) -> None:
    copied = Copied(program, original=original, cut=cut)
    for number in range(16):
        path = b"/%d" % number
        stream = copied.ask(path, *((MINE,) if number % 2 else ((b"x-more", b"z"),)), ends=False)
        trailers = [(b"x-end", path)] if number % 3 else None
        copied.client.send(stream, bytes([number]) * number * 3 * KIB, trailers, padding=number % 5)
    copied.run()
    assert len(wanted(copied)) == 8
    assert copied.came() == wanted(copied)
    assert all(message.has_ended for message in copied.came().values())
    assert (len(copied.links), copied.dropped, copied.copy.lost) == (1, 0, None)
    copied.assert_quiet()
    copied.copy.finish()
    assert copied.links[0].ended == "eof"


def test_program_is_asked_nothing_where_nothing_matches() -> None:
    copied = Copied()
    copied.ask(b"/a")
    copied.run()
    copied.copy.finish()
    copied.copy.flush()
    assert copied.links == []


@pytest.mark.parametrize(
    "body", [b"one, mine", b"not mine", b"one" + bytes(3 * MAX_BODY), b"not" + bytes(3 * MAX_BODY)]
)
def test_filter_looks_at_the_body(body: bytes) -> None:
    copied = Copied()
    copied.client.send(copied.ask(b"/a", BODY, ends=False), body)
    copied.run()
    assert {path: message.body for path, message in copied.came().items()} == (
        {b"/a": body} if body.startswith(b"one") else {}
    )
    copied.assert_quiet()


@pytest.mark.parametrize(
    ("said", "body", "comes"),
    [
        (b"3", b"abc", True),
        (b"0", b"", True),
        (b"2", b"abc", False),
        (b"4", b"abc", False),
        (b"+3", b"abc", False),
        (b"4", b"", False),
    ],
)
def test_request_whose_length_is_not_as_it_says_comes_to_nobody_and_others_do(
    said: bytes, body: bytes, comes: bool
) -> None:
    """A program may end the whole connection over it (RFC 9113 section 8.1.1)."""
    copied = Copied()
    copied.client.send(copied.ask(b"/a", MINE, (b"content-length", said), ends=False), body)
    copied.ask(b"/b", MINE)
    copied.write(copied.client.h2.data_to_send())  # the original, which would complain, hears nothing
    while copied.program_reads():
        pass
    assert {path for path, message in copied.came().items() if message.has_ended} == (
        {b"/a", b"/b"} if comes else {b"/b"}
    )
    assert copied.copy.lost is None
    copied.assert_quiet()


def test_body_that_does_not_come_is_decided_without() -> None:
    copied = Copied()
    number = copied.ask(b"/a", BODY, ends=False)
    copied.client.h2.send_data(number, b"one")
    copied.run()
    assert copied.came() == {}
    copied.advance(BODY_LIMIT_S)
    copied.client.h2.send_data(number, b" more", end_stream=True)
    copied.run()
    assert copied.came()[b"/a"].body == b"one more"
    copied.assert_quiet()


def test_request_that_is_taken_back_ends_alone() -> None:
    copied = Copied()
    copied.on_server = silent
    first, second, waiting = (copied.ask(path, MINE, ends=False) for path in (b"/1", b"/2", b"/3"))
    copied.run()
    copied.client.h2.reset_stream(first, 8)
    copied.client.h2.send_data(second, b"said", end_stream=True)
    copied.run()
    came = copied.came()
    assert (came[b"/1"].reset, came[b"/2"].reset, came[b"/2"].has_ended) == (8, None, True)
    assert waiting in copied.program.streams
    copied.copy.finish()
    copied.copy.flush()
    copied.program_reads()
    assert copied.came()[b"/3"].reset == 8
    assert not copied.links[0].ended


def test_an_answer_without_an_end_outlives_its_client_for_a_while_only() -> None:
    copied = Copied()
    copied.on_server = silent
    copied.ask(b"/watch", MINE)
    copied.run()
    copied.copy.finish()
    copied.copy.flush()
    assert not copied.links[0].ended
    copied.advance(END_LIMIT_S)
    assert copied.links[0].closed
    assert not copied.program.streams


def test_what_was_said_to_the_end_goes_though_the_client_is_gone() -> None:
    copied = Copied(LITTLE)
    copied.on_server = silent
    for number in range(5):
        copied.client.send(copied.ask(b"/%d" % number, MINE, ends=False), bytes(KIB))
    while copied.client_says():
        pass
    copied.copy.abort()
    answered: set[int] = set()
    for _ in range(5):
        copied.run()
        server = copied.links[0].server
        for number, message in server.got.items():
            if message.has_ended and number not in answered:
                answered.add(number)
                server.answer(number)
    copied.run()
    assert {path: len(message.body) for path, message in copied.came().items()} == {b"/%d" % n: KIB for n in range(5)}
    assert [link.ended for link in copied.links] == ["eof"]
    copied.assert_quiet()


def test_answers_are_thrown_away_however_long() -> None:
    copied = Copied()

    def talkative(server: Server) -> None:
        server.extra = bytes(5 * MIB)

    copied.on_server = talkative
    copied.ask(b"/1", MINE)
    copied.ask(b"/2", MINE)
    copied.run()
    assert not copied.links[0].server._outgoing
    copied.assert_quiet()


def test_program_that_ends_its_connection_gets_the_next_request_on_a_new_one() -> None:
    copied = Copied()
    copied.ask(b"/1", MINE)
    copied.run()
    first = copied.links[0]
    first.server.h2.close_connection()
    copied.run()
    assert first.ended == "eof"
    copied.ask(b"/2", MINE)
    copied.run()
    assert first.sink is not None
    first.sink.eof()
    copied.ask(b"/3", MINE)
    copied.run()
    assert [list(link.server.got) for link in copied.links] == [[1], [1, 3]]
    second = copied.links[1]
    assert second.sink is not None
    second.sink.eof()
    copied.ask(b"/4", MINE)
    copied.run()
    assert set(copied.came()) == {b"/1", b"/2", b"/3", b"/4"}
    copied.assert_quiet()


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail ready to take your message\r\n"])
def test_program_of_another_protocol_is_left_alone(said: bytes) -> None:
    copied = Copied()
    copied.ask(b"/1", MINE)
    copied.ask(b"/2", MINE)
    while copied.client_says():
        pass
    assert copied.links[0].sink is not None
    copied.links[0].sink.data(said)
    assert copied.links[0].ended == "eof"
    copied.assert_quiet()
    assert copied.copy.lost is None


def test_program_that_does_not_listen_costs_nothing() -> None:
    copied = Copied()
    copied.refuses = True
    copied.client.send(copied.ask(b"/1", MINE, ends=False), bytes(KIB))
    copied.run()
    copied.assert_quiet()
    copied.refuses = False
    copied.ask(b"/2", MINE)
    copied.run()
    assert set(copied.came()) == {b"/2"}


def test_what_waits_is_bounded_and_counted() -> None:
    copied = Copied(room=Room(total_bytes=300 * KIB, copy_bytes=200 * KIB))
    copied.ask(b"/1", MINE)
    for number in range(2, 6):
        copied.client.send(copied.ask(b"/%d" % number, MINE, ends=False), bytes(90 * KIB))
        # The program says nothing yet.
        while copied.client_says():
            assert copied.room.used <= 200 * KIB
    assert copied.dropped == 2
    copied.run()
    whole = [len(message.body) for message in copied.came().values() if message.has_ended]
    assert whole == [0, 90 * KIB, 90 * KIB]
    assert len(copied.came()) == 3
    copied.assert_quiet()


def test_requests_at_a_time_are_bounded_and_counted() -> None:
    copied = Copied()
    copied.write(PREFACE + frames.settings({}))
    for number in range(MOST_STREAMS + 5):
        copied.write(request(2 * number + 1, MINE))
    assert (len(copied.program.streams), copied.dropped) == (MOST_STREAMS, 5)
    copied.copy.cut()
    copied.assert_quiet()
    assert [link.ended for link in copied.links] == ["reset"]


BROKEN = {
    "no preface": b"PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "header block": PREFACE + frames.settings({}) + frames.headers(0, 1, b"\xbe"),
    "even stream": PREFACE + frames.settings({}) + request(2),
    "large frame": PREFACE + b"\x01\x00\x00" + bytes([frames.HEADERS, 0, 0, 0, 0, 1]),
    "table over its limit": PREFACE + frames.headers(0, 1, b"\x3f\xe2\xff\x03"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_said_once(name: str) -> None:
    copied = Copied()
    copied.write(BROKEN[name])
    assert copied.copy.lost is not None
    copied.write(request(3, MINE))
    assert copied.links == []


def test_requests_before_what_cannot_be_read_still_come() -> None:
    copied = Copied()
    copied.ask(b"/1", MINE)
    copied.ask(b"/2", MINE, ends=False)
    while copied.client_says():
        pass
    copied.write(frames.headers(0, 5, b"\xff" * 7))
    copied.run()
    assert copied.copy.lost is not None
    assert {path: message.reset for path, message in copied.came().items()} == {b"/1": None}
    assert [link.ended for link in copied.links] == ["eof"]


def test_tables_larger_and_smaller_than_usual_are_followed() -> None:
    for size in (0, 64, 20_000):
        copied = Copied(original={SettingCodes.HEADER_TABLE_SIZE: size})
        copied.run()
        for number in range(30):
            copied.ask(b"/%d" % number, MINE, (b"x-%d" % (number % 7), b"v" * 200))
            copied.run()
        assert len(wanted(copied)) == 30
        assert {path: message.fields for path, message in copied.came().items()} == {
            path: message.fields for path, message in wanted(copied).items()
        }


def block(*more: tuple[bytes, bytes], path: bytes = b"/") -> bytes:
    head = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"a"), *more)
    return hpack.encode(head)


NUMBERS = st.integers(0, 9)
FRAMES = st.one_of(
    st.builds(lambda n, ends, mine: frames.headers(ends, n, block(*[MINE] * mine)), NUMBERS, st.integers(0, 1), st.booleans()),
    st.builds(lambda n, ends: frames.headers(ends, n, block(BODY)), NUMBERS, st.integers(0, 1)),
    st.builds(lambda n: frames.headers(1, n, hpack.encode(((b"x-end", b"1"),))), NUMBERS),
    st.builds(lambda n, ends, data: frames.frame(frames.DATA, ends, n, data), NUMBERS, st.integers(0, 1), st.sampled_from([b"", b"one", bytes(9000)])),
    st.builds(lambda n, data: b"\x00\x50\x00" + bytes([0, 1, 0, 0, 0, n]) + data * 20480, NUMBERS, st.sampled_from([b"a", b"b"])),
    st.builds(frames.rst_stream, NUMBERS, st.integers(0, 13)),
    st.builds(frames.window_update, NUMBERS, st.integers(0, 2**31 - 1)),
    st.builds(frames.frame, st.integers(0, 12), st.integers(0, 255), NUMBERS, st.binary(max_size=12)),
    st.binary(max_size=12),
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(FRAMES, max_size=14), st.integers(0, 40), st.booleans(), st.booleans())
@example([frames.headers(1, 1, block(MINE)), frames.headers(0, 0, block())], 0, False, True)  # ended twice
@example(
    [frames.headers(1, 1, block(MINE)), frames.headers(0, 3, block(MINE)), frames.headers(0, 1, block())],
    0,
    False,
    False,
)  # ended, then reset
def test_whatever_a_client_says_the_program_hears_http2_and_what_matches(
    said: list[bytes], cut: int, is_little: bool, ends_early: bool
) -> None:
    """The program is another implementation, which raises what it must not be sent."""
    copied = Copied(LITTLE if is_little else {}, cut=cut * 7)
    copied.write(PREFACE + frames.settings({}) + b"".join(said))
    if ends_early:
        copied.copy.finish()
    while copied.program_reads():
        pass
    copied.advance(BODY_LIMIT_S)
    while copied.program_reads():
        pass
    for message in copied.came().values():
        assert MINE in message.fields or message.body.startswith(b"one") or BODY in message.fields
    copied.copy.finish()
    while copied.program_reads():
        pass
    copied.assert_quiet()
    assert all(link.ended for link in copied.links)
