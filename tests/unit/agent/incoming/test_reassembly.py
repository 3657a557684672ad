"""Streams put together again from segments in every disorder."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.mirror.packets import Flag, Segment
from inpod.agent.incoming.mirror.reassembly import Event, Kind, Limits, Reassembler

FLOW, OTHER = b"one flow", b"other flow"
REQUEST = b"GET /path?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
WRAP = 1 << 32
NEAR_WRAP = st.one_of(st.integers(0, WRAP - 1), st.integers(WRAP - 500, WRAP - 1))


def segment(seq: int, payload: bytes = b"", flags: int = Flag.ACK, flow: bytes = FLOW) -> Segment:
    return Segment(flow, seq % WRAP, flags, payload)


def syn(seq: int, flow: bytes = FLOW) -> Segment:
    return segment(seq, flags=Flag.SYN, flow=flow)


def data_of(events: list[Event], flow: bytes = FLOW) -> bytes:
    return b"".join(
        piece for event in events if event.kind is Kind.DATA and event.flow == flow for piece in event.pieces
    )


def kinds(events: list[Event]) -> list[Kind]:
    return [event.kind for event in events]


class Rules:
    """A reassembler that is watched: events come in an order that makes sense, and what waits is bounded."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reassembler = Reassembler(limits)
        self._is_open = {FLOW: False, OTHER: False}

    def feed(self, each: Segment, now: float) -> None:
        reassembler, is_open = self._reassembler, self._is_open
        for event in reassembler.feed([each], now) + reassembler.expire(now) + reassembler.check({FLOW}, now):
            if event.kind is Kind.OPENED:
                assert not is_open[event.flow]
                is_open[event.flow] = True
                assert sum(is_open.values()) <= self._limits.flows
            elif event.kind is not Kind.REFUSED:
                assert is_open[event.flow]
                is_open[event.flow] = event.kind is Kind.DATA
            assert bool(event.pieces) == (event.kind is Kind.DATA)
            assert all(event.pieces)
        assert 0 <= reassembler.held_bytes <= self._limits.total_bytes + 200

    def end(self, now: float) -> None:
        self._reassembler.expire(now + 2 * self._limits.idle_s)
        assert self._reassembler.held_bytes == 0


@st.composite
def pieces(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]]]:
    """Some bytes, and ranges that together cover them: in any order, overlapping, doubled."""
    data = draw(st.binary(min_size=1, max_size=300))
    cuts = sorted({0, len(data), *draw(st.lists(st.integers(0, len(data)), max_size=12))})
    covering = list(itertools.pairwise(cuts))
    position = st.integers(0, len(data))
    extra = [(min(r), max(r)) for r in draw(st.lists(st.tuples(position, position), max_size=12))]
    return data, draw(st.permutations(covering + extra))


@given(what=pieces(), first=NEAR_WRAP, fin_at=st.integers(0, 40), is_doubled=st.booleans())
def test_output_is_the_input(
    what: tuple[bytes, list[tuple[int, int]]], first: int, fin_at: int, *, is_doubled: bool
) -> None:
    data, ranges = what
    segments = [segment(first + 1 + start, data[start:end]) for start, end in ranges]
    segments.insert(min(fin_at, len(segments)), segment(first + 1 + len(data), flags=Flag.FIN | Flag.ACK))
    reassembler = Reassembler()
    events = reassembler.feed([syn(first)], 0.0)
    for each in segments:
        for _ in range(1 + is_doubled):
            events += reassembler.feed([each], 0.0)
            # As captured again on a second device.
            events += reassembler.feed([syn(first)], 0.0)
    assert data_of(events) == data
    assert kinds(events)[0] is Kind.OPENED
    assert kinds(events)[-1] is Kind.ENDED
    assert set(kinds(events)[1:-1]) <= {Kind.DATA}
    assert reassembler.held_bytes == 0


@given(what=pieces(), first=NEAR_WRAP)
def test_flows_do_not_mix(what: tuple[bytes, list[tuple[int, int]]], first: int) -> None:
    data, ranges = what
    reassembler = Reassembler()
    events = reassembler.feed([syn(first)], 0.0) + reassembler.feed([syn(first + 7, OTHER)], 0.0)
    other = data[::-1]
    for start, end in ranges:
        events += reassembler.feed([segment(first + 1 + start, data[start:end])], 0.0)
        events += reassembler.feed([segment(first + 8 + start, other[start:end], flow=OTHER)], 0.0)
    assert data_of(events) == data
    assert data_of(events, OTHER) == other


@given(
    st.lists(
        st.builds(
            segment,
            st.one_of(st.integers(0, 60), st.integers(WRAP - 60, WRAP - 1)),
            st.sampled_from([b"", b"x", b"some bytes", REQUEST]),
            st.integers(0, 31),
            st.sampled_from([FLOW, OTHER]),
        ),
        max_size=60,
    ),
    st.floats(0, 3),
)
def test_any_segments_keep_the_rules(segments: list[Segment], step: float) -> None:
    rules = Rules(Limits(flow_bytes=1000, total_bytes=1500, flows=1, gap_s=5, idle_s=20))
    now = 0.0
    for each in segments:
        now += step
        rules.feed(each, now)
    rules.end(now)


@given(
    st.lists(
        st.builds(
            segment,
            st.integers(0, 12),
            st.sampled_from([b"", b"x", b"some bytes", REQUEST]),
            st.sampled_from([Flag.ACK, Flag.ACK, Flag.ACK, Flag.SYN, Flag.ACK | Flag.FIN, Flag.RST]),
            st.sampled_from([FLOW, OTHER]),
        ),
        max_size=40,
    ),
    st.lists(st.integers(1, 40)),
)
def test_how_many_come_at_a_time_changes_nothing(segments: list[Segment], cuts: list[int]) -> None:
    one_by_one, together = Reassembler(), Reassembler()
    expected = [event for each in segments for event in one_by_one.feed([each], 0.0)]
    found: list[Event] = []
    for start, end in itertools.pairwise(sorted({0, len(segments), *(cut % (len(segments) + 1) for cut in cuts)})):
        found += together.feed(segments[start:end], 0.0)
    for flow in (FLOW, OTHER):
        assert steps(found, flow) == steps(expected, flow)


def steps(events: list[Event], flow: bytes) -> list[tuple[Kind, bytes]]:
    """Return what happened to a flow, piece by piece."""
    return [(each.kind, piece) for each in events if each.flow == flow for piece in each.pieces or [b""]]


def opened(limits: Limits | None = None) -> Reassembler:
    reassembler = Reassembler(limits or Limits())
    assert kinds(reassembler.feed([syn(100)], 0.0)) == [Kind.OPENED]
    return reassembler


def test_unknown_connection_begins_at_a_request_only() -> None:
    reassembler = Reassembler()
    for payload in (b"", b"body", b"GET / HTTP/2.0\r\n", b"get / HTTP/1.1\r\n", b" " + REQUEST, REQUEST[:20]):
        assert reassembler.feed([segment(5, payload)], 0.0) == []
    assert kinds(reassembler.feed([segment(5, REQUEST)], 0.0)) == [Kind.OPENED, Kind.DATA]
    assert data_of(reassembler.feed([segment(5 + len(REQUEST), b"body")], 0.0)) == b"body"


def test_answer_to_our_own_syn_is_no_connection_of_the_pod() -> None:
    assert Reassembler().feed([segment(1, flags=Flag.SYN | Flag.ACK)], 0.0) == []


def test_data_with_syn_and_fin_comes_out() -> None:
    events = Reassembler().feed([segment(WRAP - 1, b"at once", Flag.SYN | Flag.FIN)], 0.0)
    assert kinds(events) == [Kind.OPENED, Kind.DATA, Kind.ENDED]
    assert data_of(events) == b"at once"


def test_reset_ends_and_what_comes_late_is_left_out() -> None:
    reassembler = opened()
    reassembler.feed([segment(101, REQUEST)], 0.0)
    assert kinds(reassembler.feed([segment(101 + len(REQUEST), flags=Flag.RST)], 0.0)) == [Kind.RESET]
    assert reassembler.feed([segment(101, REQUEST)], 1.0) == []
    assert reassembler.feed([syn(100)], 1.0) == []
    assert kinds(reassembler.feed([syn(7_000)], 1.0)) == [Kind.OPENED]


def test_reset_far_from_the_window_is_none_of_it() -> None:
    reassembler = opened()
    assert reassembler.feed([segment(101 + (1 << 31), flags=Flag.RST)], 0.0) == []
    assert reassembler.feed([segment(101 - (1 << 30), b"x")], 0.0) == []
    assert data_of(reassembler.feed([segment(101, b"x")], 0.0)) == b"x"


def test_request_after_the_linger_time_begins_anew() -> None:
    reassembler = opened()
    reassembler.feed([segment(101, flags=Flag.FIN)], 0.0)
    reassembler.expire(Limits().linger_s + 1)
    assert kinds(reassembler.feed([segment(500, REQUEST)], 10.0)) == [Kind.OPENED, Kind.DATA]


def test_other_connection_of_the_same_ports_ends_the_one_before() -> None:
    reassembler = opened()
    assert kinds(reassembler.feed([syn(9_000)], 0.0)) == [Kind.RESET, Kind.OPENED]
    assert data_of(reassembler.feed([segment(9_001, b"x")], 0.0)) == b"x"


def test_gap_that_stays_is_a_loss_and_a_request_begins_anew() -> None:
    limits = Limits(gap_s=5.0)
    reassembler = opened(limits)
    assert reassembler.feed([segment(111, b"beyond")], 1.0) == []
    assert reassembler.expire(6.0) == []
    assert reassembler.expire(6.1) == [Event(Kind.LOST, FLOW, lost=2)]
    assert reassembler.held_bytes == 0
    assert reassembler.feed([segment(117, b"body")], 7.0) == []
    assert kinds(reassembler.feed([segment(121, REQUEST)], 7.0)) == [Kind.OPENED, Kind.DATA]


def test_gap_that_is_filled_in_part_has_its_time_again() -> None:
    reassembler = opened(Limits(gap_s=5.0))
    reassembler.feed([segment(111, b"beyond")], 1.0)
    assert data_of(reassembler.feed([segment(101, b"12345")], 5.0)) == b"12345"
    assert reassembler.expire(9.9) == []
    assert data_of(reassembler.feed([segment(106, b"67890")], 9.9)) == b"67890beyond"
    assert reassembler.expire(100.0) == []


def test_missing_bytes_before_fin_are_a_gap() -> None:
    reassembler = opened(Limits(gap_s=5.0))
    assert reassembler.feed([segment(111, flags=Flag.FIN)], 0.0) == []
    assert kinds(reassembler.expire(5.1)) == [Kind.LOST]


@pytest.mark.parametrize("limits", [Limits(flow_bytes=10_000), Limits(total_bytes=10_000)])
def test_what_waits_is_bounded(limits: Limits) -> None:
    reassembler = opened(limits)
    events: list[Event] = []
    for i in range(100):
        events += reassembler.feed([segment(200 + 2000 * i, bytes(1000))], 0.0)
        assert reassembler.held_bytes <= 10_000
    assert kinds(events) == [Kind.LOST]


def test_flows_are_bounded() -> None:
    reassembler = Reassembler(Limits(flows=2))
    events = [event for i in range(3) for event in reassembler.feed([syn(1, bytes([i]))], 0.0)]
    assert kinds(events) == [Kind.OPENED, Kind.OPENED, Kind.REFUSED]
    reassembler.forget(bytes([0]))
    assert kinds(reassembler.feed([syn(1, bytes([2]))], 0.0)) == [Kind.OPENED]


def test_silence_ends_a_flow_at_last() -> None:
    reassembler = opened(Limits(idle_s=100.0))
    reassembler.feed([segment(101, b"x")], 50.0)
    assert reassembler.expire(149.0) == []
    assert kinds(reassembler.expire(151.0)) == [Kind.RESET]


def test_silent_flow_ends_with_its_connection() -> None:
    reassembler = opened(Limits(silent_s=5.0))
    reassembler.feed([segment(101, b"x")], 0.0)
    assert not reassembler.has_silent(4.0)
    assert reassembler.has_silent(6.0)
    assert reassembler.check({FLOW}, 6.0) == []
    assert kinds(reassembler.check(set(), 12.0)) == [Kind.RESET]


def test_silent_flow_whose_connection_was_never_there() -> None:
    limits = Limits(silent_s=5.0)
    assert kinds(opened(limits).check(set(), 6.0)) == [Kind.RESET]
    redirected = opened(limits)
    redirected.feed([segment(101, b"x")], 0.0)
    assert redirected.check(set(), 6.0) == []
    redirected.doubt()
    assert kinds(redirected.check(set(), 6.0)) == [Kind.LOST]
