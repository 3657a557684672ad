"""Recorded sequences of segments: what they bring, and what does not change it or must not break the rules."""

import json
from itertools import groupby
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.mirror.packets import Flag, Segment
from inpod.agent.incoming.mirror.reassembly import Event, Limits, Reassembler
from tests.unit.agent.incoming.test_reassembly import NEAR_WRAP, WRAP, Rules, data_of, segment

CORPUS = sorted((Path(__file__).with_name("corpus") / "segments").iterdir())

Step = Segment | float
"""A segment, its sequence number counted from the first one's SYN; or seconds that pass."""


def read(path: Path) -> tuple[list[str], list[Step]]:
    """Return what a sequence brings, and its steps."""
    first, *lines = map(json.loads, path.read_text().splitlines())
    return first["brings"], [
        float(line["passes"]) if isinstance(line, dict) else segment(line[0], line[2].encode("latin-1"), line[1])
        for line in lines
    ]


def play(steps: list[Step], first: int) -> list[Event]:
    reassembler, now = Reassembler(), 0.0
    events: list[Event] = []
    for step in steps:
        if isinstance(step, float):
            now += step
            events += reassembler.expire(now)
        else:
            events += reassembler.feed([step._replace(seq=(step.seq + first) % WRAP)], now)
    return events


def brought(events: list[Event]) -> list[str]:
    return [name for name, _ in groupby(event.kind.name for event in events)]


def said(steps: list[Step]) -> bytes:
    """Return what the segments of one connection say, each byte put to its place: the first that came counts."""
    there: dict[int, int] = {}
    for step in steps:
        if isinstance(step, Segment):
            start = step.seq + bool(step.flags & Flag.SYN)
            for at, byte in enumerate(step.payload, start):
                there.setdefault(at, byte)
    return bytes(there[at] for at in sorted(there))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
@pytest.mark.parametrize("first", [1000, WRAP - 1, WRAP - 700])
def test_sequence_brings_what_it_did(path: Path, first: int) -> None:
    brings, steps = read(path)
    assert brought(play(steps, first)) == brings


_OTHERS = ("began_before", "far_from_the_window", "data_with_its_syn_and_fin")
WHOLE = {
    path.stem: read(path)[1]
    for path in CORPUS
    if read(path)[0] == ["OPENED", "DATA", "ENDED"] and path.stem not in _OTHERS
}
"""Those that begin with a SYN, and whose other segments are all of their connection."""


@given(st.sampled_from(sorted(WHOLE)), NEAR_WRAP, st.randoms(use_true_random=False), st.integers(0, 3))
def test_order_doubles_and_cuts_do_not_change_what_is_said(name: str, first: int, chance: Random, doubles: int) -> None:
    syn, *rest = WHOLE[name]
    assert isinstance(syn, Segment)
    pieces: list[Step] = []
    for step in rest:
        assert isinstance(step, Segment)
        at = chance.randint(0, len(step.payload))
        # The end stays with the last byte.
        pieces.append(step._replace(payload=step.payload[:at], flags=int(Flag.ACK)))
        pieces.append(step._replace(payload=step.payload[at:], seq=step.seq + at))
    pieces += [chance.choice(pieces) for _ in range(doubles)] if pieces else []
    chance.shuffle(pieces)
    events = play([syn, *pieces], first)
    assert brought(events) == ["OPENED", "DATA", "ENDED"]
    assert len(data_of(events)) == len(said([syn, *rest]))
    if name != "overlapping_in_part":  # whose bytes tell which came first
        assert data_of(events) == said([syn, *rest])


@given(
    st.sampled_from([steps for _, steps in map(read, CORPUS)]),
    NEAR_WRAP,
    st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["lose", "move", "seq", "flags", "cut", "wait"]), st.integers(0, 1 << 16))),
    st.booleans(),
)  # fmt: skip
def test_damaged_sequences_keep_the_rules(
    steps: list[Step], first: int, damages: list[tuple[int, str, int]], is_small: bool
) -> None:
    steps = list(steps)
    for place, what, much in damages:
        if not steps:
            break
        at = place % len(steps)
        step = steps[at]
        if what == "lose":
            del steps[at]
        elif what == "move":
            steps.insert(much % len(steps), steps.pop(at))
        elif what == "wait":
            steps.insert(at, float(much % 8))
        elif isinstance(step, Segment):
            steps[at] = {
                "seq": step._replace(seq=(step.seq + much * much) % WRAP),
                "flags": step._replace(flags=step.flags ^ (1 << much % 5)),
                "cut": step._replace(payload=step.payload[much % (len(step.payload) + 1) :]),
            }[what]
    rules = Rules(Limits(flow_bytes=1000, total_bytes=1500, flows=1, gap_s=5, idle_s=20) if is_small else Limits())
    now = 0.0
    for step in steps:
        if isinstance(step, float):
            now += step
        else:
            rules.feed(step._replace(seq=(step.seq + first) % WRAP), now)
    rules.end(now)
