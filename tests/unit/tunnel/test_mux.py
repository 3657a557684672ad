"""The mux: credit, turns and ends, without a link."""

from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inpod.tunnel.frames import MAX_PAYLOAD, Frame, FrameDecoder, FrameError, Kind
from inpod.tunnel.mux import CREDIT_STEP, JOIN_BELOW, MAX_STREAMS, WINDOW, Mux, StreamState


def sent(mux: Mux) -> list[Frame]:
    """Return the frames that `mux` wants to send."""
    return FrameDecoder().feed(b"".join(mux.take()))


def opened(mux: Mux, head: bytes = b"") -> StreamState:
    state = mux.open(head)
    assert state is not None
    return state


def data_of(frames: list[Frame]) -> bytes:
    return b"".join(payload for _, kind, payload in frames if kind == Kind.DATA)


def credit(size: int) -> bytes:
    return size.to_bytes(4, "big")


def test_ids_of_both_ends_never_meet() -> None:
    first, second = Mux(initiator=True), Mux(initiator=False)
    assert [opened(first).number for _ in range(3)] == [1, 3, 5]
    assert [opened(second).number for _ in range(3)] == [2, 4, 6]


def test_frames_go_in_the_order_they_were_said() -> None:
    mux = Mux(initiator=True)
    state = opened(mux, b"head")
    large = bytes(JOIN_BELOW) * 3
    for data in (b"a", large, b"b"):
        assert mux.send(state, data)
    mux.send_eof(state)
    assert sent(mux) == [
        (1, Kind.OPEN, b"head"),
        (1, Kind.DATA, b"a"),
        (1, Kind.DATA, large),
        (1, Kind.DATA, b"b"),
        (1, Kind.EOF, b""),
    ]
    assert not mux.has_output


def test_small_frames_are_one_piece_and_large_data_is_not_copied() -> None:
    mux = Mux(initiator=True)
    state = opened(mux)
    mux.send(state, b"a")
    mux.send(state, b"b")
    assert len(mux.take()) == 1
    large = bytes(JOIN_BELOW)
    mux.send(state, large)
    assert mux.take()[1] is large


def test_data_beyond_the_credit_waits_for_more() -> None:
    mux = Mux(initiator=True)
    state = opened(mux)
    assert not mux.send(state, bytes(WINDOW) + b"12345")
    assert not mux.send(state, b"6")
    mux.send_eof(state)
    frames = sent(mux)
    assert len(data_of(frames)) == WINDOW
    assert max(len(payload) for _, _, payload in frames) == MAX_PAYLOAD
    assert mux.received(1, Kind.CREDIT, credit(3)) is state
    assert not mux.pump(state)
    assert sent(mux) == [(1, Kind.DATA, b"123")]
    mux.received(1, Kind.CREDIT, credit(100))
    assert mux.pump(state)
    frames = sent(mux)
    assert data_of(frames) == b"456"
    assert frames[-1] == (1, Kind.EOF, b"")


def test_data_waits_while_the_link_is_full_and_streams_take_turns() -> None:
    mux = Mux(initiator=True)
    first, second = opened(mux), opened(mux)
    sent(mux)
    mux.is_full = True
    assert not mux.send(first, b"1")
    assert not mux.send(second, b"2")
    assert not mux.has_output
    assert list(mux.blocked) == [first, second]
    mux.is_full = False
    mux.blocked.clear()
    assert mux.pump(first)
    assert sent(mux) == [(1, Kind.DATA, b"1")]


def test_credit_comes_back_as_bytes_are_passed_on() -> None:
    mux = Mux(initiator=False)
    mux.received(1, Kind.OPEN, b"")
    state = mux.streams[1]
    mux.received(1, Kind.DATA, bytes(MAX_PAYLOAD))
    assert not mux.passed_on(state, CREDIT_STEP - 1)
    assert mux.passed_on(state, 1)
    assert sent(mux) == [(1, Kind.CREDIT, credit(CREDIT_STEP))]


def test_stream_ends_when_both_ends_said_eof() -> None:
    mux = Mux(initiator=True)
    state = opened(mux)
    mux.send_eof(state)
    assert not state.ended
    mux.received(1, Kind.EOF, b"")
    assert state.ended
    assert not mux.streams


def test_frames_that_crossed_a_reset_are_thrown_away() -> None:
    mux = Mux(initiator=True)
    state = opened(mux)
    mux.reset(state, b"why")
    assert sent(mux)[-1] == (1, Kind.RESET, b"why")
    for kind, payload in ((Kind.DATA, b"late"), (Kind.ACCEPT, b""), (Kind.EOF, b""), (Kind.RESET, b"")):
        assert mux.received(1, kind, payload) is None
    mux.reset(state, b"again")
    assert not mux.send(state, b"x") or not mux.has_output


def test_many_pings_get_one_pong() -> None:
    mux = Mux(initiator=True)
    for _ in range(1000):
        mux.received(0, Kind.PING, b"")
    assert sent(mux) == [(0, Kind.PONG, b"")]


def test_too_many_own_streams_are_not_opened() -> None:
    mux = Mux(initiator=True)
    for _ in range(MAX_STREAMS):
        opened(mux)
    assert mux.open(b"") is None
    mux.reset(mux.streams[1], b"")
    assert mux.open(b"") is not None


def test_too_many_streams_of_the_peer_break_the_link() -> None:
    mux = Mux(initiator=False)
    for number in range(1, 2 * MAX_STREAMS, 2):
        mux.received(number, Kind.OPEN, b"")
    with pytest.raises(FrameError):
        mux.received(2 * MAX_STREAMS + 1, Kind.OPEN, b"")


@pytest.mark.parametrize("size", [MAX_PAYLOAD + 1, 10 * MAX_PAYLOAD])
def test_payload_that_fits_no_frame_is_refused_before_it_is_sent(size: int) -> None:
    mux = Mux(initiator=True)
    state = opened(mux)
    sent(mux)
    with pytest.raises(ValueError, match="fit"):
        mux.open(bytes(size))
    with pytest.raises(ValueError, match="fit"):
        mux.reset(state, bytes(size))
    assert not mux.has_output


FULL = [(1, Kind.DATA, bytes(MAX_PAYLOAD))] * (WINDOW // MAX_PAYLOAD)


@pytest.mark.parametrize(
    "frames",
    [
        [*FULL, (1, Kind.DATA, b"x")],
        [(1, Kind.EOF, b""), (1, Kind.DATA, b"x")],
        [(1, Kind.EOF, b""), (1, Kind.EOF, b"")],
        [(1, Kind.ACCEPT, b""), (1, Kind.ACCEPT, b"")],
        [(1, Kind.CREDIT, credit(1))],
        [(1, Kind.CREDIT, b"1")],
        [(1, Kind.OPEN, b"")],
        [(3, Kind.OPEN, b"")],
        [(3, Kind.DATA, b"")],
        [(2, Kind.DATA, b"")],
        [(2, Kind.OPEN, b""), (2, Kind.OPEN, b"")],
        [(4, Kind.OPEN, b""), (2, Kind.OPEN, b"")],
        [(2, Kind.OPEN, b""), (2, Kind.ACCEPT, b"")],
        [(0, Kind.OPEN, b"")],
        [(0, Kind.DATA, b"")],
        [(0, Kind.PING, b"x")],
        [(1, Kind.PING, b"")],
        [(9, Kind.PONG, b"")],
    ],
    ids=lambda frames: "-".join(f"{kind.name}{number}" for number, kind, _ in frames[-2:]),
)
def test_peer_that_breaks_a_rule_breaks_the_link(frames: list[Frame]) -> None:
    mux = Mux(initiator=True)
    opened(mux)
    for frame in frames[:-1]:
        mux.received(*frame)
    with pytest.raises(FrameError):
        mux.received(*frames[-1])


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(list(Kind)), st.binary(max_size=5)), max_size=30))
def test_mux_takes_any_frames_or_refuses_them(frames: list[Frame]) -> None:
    mux = Mux(initiator=True)
    opened(mux)
    for frame in frames:
        try:
            mux.received(*frame)
        except FrameError:
            return


SIZES = st.integers(0, 3 * WINDOW // 2)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), SIZES), max_size=8), st.lists(st.booleans(), min_size=1, max_size=20))
def test_two_ends_agree_whatever_the_order(writes: list[tuple[int, int]], passes: list[bool]) -> None:
    """Four streams, data of any size, readers that pass bytes on when they like: nothing is lost, mixed or unbounded."""
    here, there = Mux(initiator=True), Mux(initiator=False)
    states = [opened(here) for _ in range(4)]
    wanted, got, unread = [b"", b"", b"", b""], [b"", b"", b"", b""], [0, 0, 0, 0]
    for turn, (stream, size) in enumerate(writes):
        wanted[stream] += bytes([turn]) * size
        here.send(states[stream], bytes([turn]) * size)
    for state in states:
        here.send_eof(state)
    turns = cycle(passes)
    while here.has_output or there.has_output or any(unread):
        for number, kind, payload in sent(here):
            there.received(number, kind, payload)
            if kind == Kind.DATA:
                got[number // 2] += payload
                unread[number // 2] += len(payload)
        assert max(unread) <= WINDOW
        is_stuck = not there.has_output
        for stream in range(4):
            if unread[stream] and (is_stuck or next(turns)):
                state_there = there.streams[2 * stream + 1]
                there.passed_on(state_there, unread[stream])
                unread[stream] = 0
        for number, kind, payload in sent(there):
            state_here = here.received(number, kind, payload)
            if state_here is not None:
                here.pump(state_here)
    assert got == wanted
