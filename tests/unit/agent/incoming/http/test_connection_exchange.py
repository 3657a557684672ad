"""The exchange with a played client and played sides: which byte goes where, however it was cut."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.http.answers import AnswerReader
from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.http.collected import MAX_BODY
from inpod.agent.incoming.http.counts import Counts
from inpod.agent.incoming.http.exchange import BODY_LIMIT_S, CONTINUE, HEAD_LIMIT_S, MAX_PIPELINED, Exchange
from inpod.agent.incoming.http.passage import State
from inpod.tunnel.stream import Stream

GET_OTHER = b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n"
GET_ONE = b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n"
GET_TWO = b"GET /two HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_ONE = b"GET /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
UPGRADE = b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
UPGRADE_ONE = b"GET /one HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
CONNECT_ONE = b"CONNECT one:1 HTTP/1.1\r\nHost: one:1\r\n\r\n"
POST_ONE = b"POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
POST_BODY_HEAD = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n"
POST_BODY = POST_BODY_HEAD + b"for one!"
POST_CHUNKS = b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfor on\r\n1\r\ne\r\n0\r\n\r\n"
EXPECTING_HEAD = b"POST /body HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 8\r\n\r\n"
SMUGGLING = b"POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
BAD_CHUNK = b"POST /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"


class Session:
    """A taker; its streams are played."""

    def open(self) -> Stream:
        raise AssertionError


ONE, TWO = Session(), Session()


class Filters:
    """Finds its taker in the target or, for /body, in the body."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def choose(self, head: Head, body: bytes | None) -> Taker | Fate:
        if b"body" in head.target:
            if body is None:
                return Fate.NEEDS_BODY
            self.bodies.append(body)
            return ONE if b"for one" in body else Fate.ORIGINAL
        return ONE if b"one" in head.target else TWO if b"two" in head.target else Fate.ORIGINAL


@dataclass(eq=False)
class PlayedSide:
    taker: Taker | None
    sent: list[tuple[Taker | None, bytes]]
    answers: AnswerReader = field(default_factory=AnswerReader)
    got_eof: bool = False
    ended: str = ""

    def write(self, data: bytes) -> None:
        assert not self.ended
        assert not self.got_eof
        self.sent.append((self.taker, data))

    def write_eof(self) -> None:
        assert not self.got_eof
        self.got_eof = True

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Played:
    """A client's connection, and everything around its exchange.

    Attributes:
        sent: What was sent to whom, in order.
        received: What the client got.
        opened: All sides that were opened so far, the latest of each.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[Taker | None, bytes]] = []
        self.received = b""
        self.ended = ""
        self.got_eof = False
        self.limit: float | None = None
        self.is_held = False
        self.asked: list[Taker | None] = []
        self.opened: dict[Taker | None, PlayedSide] = {}
        self.reasons: list[str] = []
        self.counts = Counts(on_whole=self.reasons.append)
        self.filters = Filters()
        self.exchange = Exchange(self, self.filters, self.counts)

    # What the exchange calls.

    def write(self, data: bytes) -> None:
        assert not self.ended
        self.received += data

    def write_eof(self) -> None:
        self.got_eof = True

    def finish(self) -> None:
        assert not self.ended
        self.ended = "finished"

    def reset(self) -> None:
        assert not self.ended
        self.ended = "reset"

    def hold(self, is_held: bool) -> None:
        assert is_held is not self.is_held
        self.is_held = is_held

    def open(self, taker: Taker | None) -> None:
        self.asked.append(taker)

    def set_limit(self, seconds: float | None) -> None:
        self.limit = seconds

    # What a test does.

    def client(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.exchange.client_data(piece)
            self.open_all()

    def open_all(self) -> None:
        while self.asked:
            taker = self.asked.pop(0)
            side = self.opened[taker] = PlayedSide(taker, self.sent)
            self.exchange.opened(side)

    def answer(self, taker: Taker | None, data: bytes = OK) -> None:
        self.exchange.side_data(self.opened[taker], data)
        self.open_all()

    def answer_all(self) -> None:
        """Let each side answer what it was asked, until nothing waits."""
        while not self.ended and self.exchange.state is not State.WHOLE:
            waiting = [taker for taker, side in self.opened.items() if side.answers.waiting and not side.ended]
            if not waiting or self.exchange.state in (State.SENDING, State.BARRIER):
                return
            self.answer(waiting[0])

    def sent_to(self, taker: Taker | None) -> bytes:
        return b"".join(data for whose, data in self.sent if whose is taker)


def test_each_side_gets_its_requests_and_answers_are_in_order() -> None:
    played = Played()
    played.client(GET_OTHER + GET_ONE + GET_TWO + GET_OTHER)
    for number, taker in enumerate((None, ONE, TWO, None)):
        assert [whose for whose, _ in played.sent] == [None, ONE, TWO, None][: number + 1]
        played.answer(taker, OK.replace(b"ok", b"%02d" % number))
    assert played.received == b"".join(OK.replace(b"ok", b"%02d" % number) for number in range(4))
    assert (played.counts.seen, played.counts.matched, played.counts.passed) == (4, 2, 2)


def test_requests_of_one_side_are_pipelined_up_to_a_bound() -> None:
    played = Played()
    played.client(GET_OTHER * (MAX_PIPELINED + 3))
    assert played.sent_to(None) == GET_OTHER * MAX_PIPELINED
    played.client(GET_OTHER)
    assert played.is_held
    played.answer(None, OK * 4)
    assert played.sent_to(None) == GET_OTHER * (MAX_PIPELINED + 4)
    assert not played.is_held


def test_one_stream_is_kept_for_each_session() -> None:
    played = Played()
    for _ in range(3):
        played.client(GET_ONE)
        stream = played.opened[ONE]
        played.answer(ONE)
        played.client(GET_OTHER)
        played.answer(None)
        assert played.opened[ONE] is stream


def test_stream_that_ended_is_opened_anew() -> None:
    played = Played()
    played.client(GET_ONE)
    played.answer(ONE)
    played.client(GET_OTHER)
    played.answer(None)
    played.exchange.side_lost(played.opened[ONE])
    played.client(GET_ONE)
    assert played.sent_to(ONE) == GET_ONE * 2
    assert not played.ended


def test_session_that_refuses_leaves_the_request_to_the_original() -> None:
    played = Played()
    played.exchange.client_data(GET_ONE + GET_OTHER)
    assert played.asked.pop() is ONE
    played.exchange.refused(ONE)
    played.open_all()
    assert played.sent_to(None) == GET_ONE + GET_OTHER
    assert (played.counts.matched, played.counts.passed) == (0, 2)


def test_original_that_refuses_resets_the_client() -> None:
    played = Played()
    played.exchange.client_data(GET_OTHER)
    played.exchange.refused(None)
    assert played.ended == "reset"


@pytest.mark.parametrize("data", [POST_BODY, POST_CHUNKS])
def test_body_is_shown_to_the_filters_and_forwarded_as_it_came(data: bytes) -> None:
    played = Played()
    played.client(data[:-3])
    assert (played.sent, played.limit) == ([], BODY_LIMIT_S)
    played.client(data[-3:])
    assert played.sent_to(ONE) == data
    assert played.filters.bodies == [b"for one!" if data is POST_BODY else b"for one"]
    assert played.limit is None


def test_body_that_is_late_is_decided_without() -> None:
    played = Played()
    played.client(POST_BODY_HEAD + b"for ")
    played.exchange.limit_passed()
    played.open_all()
    assert played.filters.bodies == [b"for "]
    played.client(b"one!")
    assert played.sent_to(None) == POST_BODY


def test_large_body_is_shown_up_to_the_bound() -> None:
    played = Played()
    begin = b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
    played.client(begin + bytes(MAX_BODY - 1))
    assert played.sent == []
    played.client(bytes(5))
    assert played.filters.bodies == [bytes(MAX_BODY)]
    assert played.sent_to(None) == begin + bytes(MAX_BODY + 4)


def test_continue_is_said_once_when_a_filter_wants_the_body() -> None:
    played = Played()
    played.client(GET_OTHER + EXPECTING_HEAD)
    assert played.received == b""
    played.answer(None)
    assert played.received == OK + CONTINUE
    played.client(b"for one!")
    assert played.sent_to(ONE) == EXPECTING_HEAD + b"for one!"
    played.answer(ONE, CONTINUE + OK)
    assert played.received == OK + CONTINUE + OK


def test_continue_is_the_side_s_when_no_filter_wants_the_body() -> None:
    played = Played()
    head = EXPECTING_HEAD.replace(b"/body", b"/one")
    played.client(head)
    assert (played.sent_to(ONE), played.received) == (head, b"")
    played.answer(ONE, CONTINUE)
    assert played.received == CONTINUE


@pytest.mark.parametrize(("data", "taker"), [(UPGRADE, None), (UPGRADE_ONE, ONE)])
def test_upgraded_connection_belongs_to_the_side_that_agreed(data: bytes, taker: Taker | None) -> None:
    played = Played()
    played.client(data, GET_TWO)
    assert played.sent_to(taker) == data
    assert played.is_held
    played.answer(taker, SWITCHING + b"\x81\x00")
    assert played.sent_to(taker) == data + GET_TWO
    played.client(GET_TWO)
    assert played.sent_to(taker) == data + GET_TWO * 2
    assert played.received == SWITCHING + b"\x81\x00"
    assert played.sent_to(TWO) == b""


def test_requests_go_on_behind_a_refused_upgrade() -> None:
    played = Played()
    played.client(UPGRADE_ONE + GET_TWO)
    played.answer(ONE)
    assert played.sent_to(TWO) == GET_TWO


def test_tunnel_of_connect_belongs_to_the_side() -> None:
    played = Played()
    played.client(CONNECT_ONE + GET_TWO)
    played.answer(ONE, b"HTTP/1.1 200 OK\r\n\r\n")
    assert played.sent_to(ONE) == CONNECT_ONE + GET_TWO


@pytest.mark.parametrize("odd", [SMUGGLING, b"\x16\x03\x01", b"GET / HTTP/1.1\nHost: a\n\n", b"PRI * HTTP/2.0\r\n\r\n"])
def test_what_has_two_meanings_goes_to_the_original_whole(odd: bytes) -> None:
    for before in (b"", GET_OTHER):
        played = Played()
        played.client(before + odd + GET_ONE, GET_ONE)
        assert played.sent_to(None) == before + odd + GET_ONE * 2
        assert played.sent_to(ONE) == b""
        assert played.counts.whole == len(played.reasons) == 1


def test_matched_request_under_way_is_finished_before_what_has_two_meanings() -> None:
    played = Played()
    played.client(GET_ONE + SMUGGLING, GET_ONE)
    assert (played.sent_to(ONE), played.sent_to(None)) == (GET_ONE, b"")
    played.answer(ONE)
    assert (played.received, played.ended) == (OK, "finished")


def test_matched_request_with_a_broken_body_ends_there() -> None:
    played = Played()
    played.client(BAD_CHUNK)
    assert played.sent_to(ONE) == BAD_CHUNK[: BAD_CHUNK.index(b"5 ")]
    assert played.opened[ONE].got_eof
    assert played.sent_to(None) == b""


def test_broken_body_that_a_filter_looks_at_goes_to_the_original() -> None:
    played = Played()
    data = BAD_CHUNK.replace(b"/one", b"/body")
    played.client(data)
    assert played.sent_to(None) == data


def test_last_request_s_followers_are_not_read() -> None:
    played = Played()
    played.client(LAST_ONE + GET_TWO)
    played.answer(ONE)
    assert played.sent == [(ONE, LAST_ONE)]
    assert (played.received, played.ended) == (OK, "finished")


def test_answer_until_close_is_the_last() -> None:
    played = Played()
    played.client(GET_ONE)
    played.answer(ONE, b"HTTP/1.1 200 OK\r\n\r\nabc")
    played.client(GET_TWO)
    played.answer(ONE, b"def")
    played.exchange.side_eof(played.opened[ONE])
    assert (played.received, played.ended) == (b"HTTP/1.1 200 OK\r\n\r\nabcdef", "finished")
    assert played.sent_to(TWO) == b""


def test_odd_answer_of_the_original_passes_the_rest_whole() -> None:
    played = Played()
    played.client(GET_OTHER)
    played.answer(None, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")
    played.client(GET_ONE)
    assert played.sent_to(None) == GET_OTHER + GET_ONE


def test_original_that_speaks_first_has_the_connection() -> None:
    played = Played()
    played.exchange.expect_original()
    played.asked.append(None)
    played.open_all()
    played.answer(None, b"220 mail ready\r\n")
    played.client(GET_ONE)
    assert (played.received, played.sent_to(None)) == (b"220 mail ready\r\n", GET_ONE)


@pytest.mark.parametrize("comes", [True, False])
def test_request_of_a_late_client_does_not_wait_for_the_original(comes: bool) -> None:
    played = Played()
    played.exchange.expect_original()
    played.exchange.client_data(GET_ONE)
    assert played.asked == [ONE]
    if comes:
        played.asked.insert(0, None)
    else:
        played.exchange.refused(None)
    played.open_all()
    assert played.sent_to(ONE) == GET_ONE
    played.answer(ONE)
    # For the next one it is asked for only if it is not there.
    played.client(GET_OTHER)
    assert played.sent_to(None) == GET_OTHER
    played.answer(None)
    assert played.received == OK * 2


def test_request_for_the_original_waits_for_the_one_that_is_under_way() -> None:
    played = Played()
    played.exchange.expect_original()
    played.exchange.client_data(GET_OTHER)
    assert played.asked == []
    played.asked.append(None)
    played.open_all()
    assert played.sent_to(None) == GET_OTHER


def test_client_that_asks_nothing_and_ends_is_passed_whole() -> None:
    played = Played()
    played.exchange.client_eof()
    played.open_all()
    assert played.opened[None].got_eof
    assert played.exchange.state is State.WHOLE
    played.answer(None, b"bye")
    played.exchange.side_eof(played.opened[None])
    assert (played.received, played.ended) == (b"bye", "finished")


def test_head_that_does_not_come_to_an_end_is_passed_whole() -> None:
    played = Played()
    played.client(GET_ONE[:-2])
    assert played.limit == HEAD_LIMIT_S
    played.exchange.limit_passed()
    played.open_all()
    assert played.sent_to(None) == GET_ONE[:-2]


def test_half_close_reaches_the_side_behind_the_last_request() -> None:
    played = Played()
    played.client(GET_OTHER + GET_ONE)
    played.exchange.client_eof()
    assert not played.opened[None].got_eof
    played.answer(None)
    assert played.opened[ONE].got_eof
    played.answer(ONE)
    assert (played.received, played.ended) == (OK * 2, "finished")


def test_half_close_in_a_body_reaches_the_side() -> None:
    played = Played()
    played.client(POST_ONE[:-6])
    played.exchange.client_eof()
    assert played.sent_to(ONE) == POST_ONE[:-6]
    assert played.opened[ONE].got_eof


def test_side_that_breaks_off_resets_the_client() -> None:
    played = Played()
    played.client(GET_ONE)
    played.exchange.side_lost(played.opened[ONE])
    assert played.ended == "reset"


@pytest.mark.parametrize("leave", [Exchange.side_lost, Exchange.side_eof])
def test_session_that_leaves_an_idle_connection_harms_nobody(leave: Callable[[Exchange, PlayedSide], None]) -> None:
    played = Played()
    played.client(GET_ONE)
    played.answer(ONE)
    leave(played.exchange, played.opened[ONE])
    played.client(GET_OTHER)
    assert played.sent_to(None) == GET_OTHER
    played.answer(None)
    played.client(GET_ONE)
    assert played.sent_to(ONE) == GET_ONE * 2
    assert not played.ended


def test_idle_connection_ends_with_who_answered_last() -> None:
    played = Played()
    played.client(GET_ONE)
    played.answer(ONE)
    played.client(GET_OTHER)
    played.answer(None)
    played.exchange.side_eof(played.opened[ONE])
    assert played.ended != "finished"
    played.exchange.side_eof(played.opened[None])
    assert played.ended == "finished"


def test_client_that_is_gone_ends_all_sides() -> None:
    played = Played()
    played.client(GET_OTHER)
    played.answer(None)
    played.client(GET_ONE)
    played.exchange.client_lost()
    assert (played.opened[ONE].ended, played.opened[None].ended) == ("aborted", "closed")


PARTS = [
    GET_OTHER,
    GET_ONE,
    GET_TWO,
    LAST_ONE,
    UPGRADE,
    CONNECT_ONE,
    POST_ONE,
    POST_BODY,
    POST_CHUNKS,
    SMUGGLING,
    BAD_CHUNK,
    BAD_CHUNK.replace(b"/one", b"/other"),
    b"GET",
    b"\r\n",
    b"\x00",
]
STREAMS = st.lists(st.one_of(st.sampled_from(PARTS), st.binary(max_size=4)), max_size=6).map(b"".join)
CUTS = st.lists(st.integers(0, 3000), max_size=8)


def outcome(pieces: list[bytes], *, ends: bool) -> tuple[bytes, bytes, bytes, bytes, str, State]:
    """Return what each got, how the client's connection ended, and how it stands."""
    played = Played()
    played.client(*pieces)
    if ends:
        played.exchange.client_eof()
        played.open_all()
    played.answer_all()
    # In order, nothing left out, nothing made.
    assert b"".join(pieces).startswith(b"".join(data for _, data in played.sent))
    sent = (played.sent_to(None), played.sent_to(ONE), played.sent_to(TWO))
    return (*sent, played.received, played.ended, played.exchange.state)


@given(STREAMS, CUTS, st.booleans())
def test_cut_anywhere_is_the_same(data: bytes, places: list[int], ends: bool) -> None:
    cuts = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    pieces = [data[start:end] for start, end in pairwise(cuts) if start < end]
    assert outcome(pieces, ends=ends) == outcome([data] if data else [], ends=ends)
