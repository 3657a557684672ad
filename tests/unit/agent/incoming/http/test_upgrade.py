"""Offers to go on in HTTP/2, which nobody gets, and heads that are otherwise as they came."""

import pytest

from inpod.agent.incoming.http.head import parse_request
from tests.unit.agent.incoming.http.test_connection_exchange import GET_OTHER, OK, ONE, Played

BEGIN = b"GET /one HTTP/1.1\r\nhost:a\r\n"
OFFER = (
    BEGIN
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nX-A:  as it came\r\n\r\n"
)

HEADS = {
    "alone": (OFFER, BEGIN + b"X-A:  as it came\r\n\r\n"),
    "in other letters": (
        BEGIN + b"connection:upgrade,http2-settings\r\nupgrade:H2C\r\nhttp2-settings:AA\r\n\r\n",
        BEGIN + b"\r\n",
    ),
    "beside other options": (
        BEGIN + b"Connection: keep-alive, Upgrade, HTTP2-Settings, x-hop\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        BEGIN + b"Connection: keep-alive, x-hop\r\n\r\n",
    ),
    "in several fields": (
        BEGIN + b"Connection: Upgrade\r\nUpgrade: h2c\r\nConnection: HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n",
        BEGIN + b"\r\n",
    ),
    "beside another protocol": (
        BEGIN + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        BEGIN + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_offer_is_not_passed_on(name: str) -> None:
    came, goes = HEADS[name]
    for is_cut in (False, True):
        played = Played()
        played.client(*([came[at : at + 1] for at in range(len(came))] if is_cut else [came]))
        assert played.sent_to(ONE) == goes


@pytest.mark.parametrize(
    "field", [b"Upgrade: websocket", b"Upgrade: TLS/1.3", b"Upgrade: h2c2", b"X-Upgrade: h2c", b"HTTP2-Settings: AA"]
)
def test_other_heads_are_as_they_came(field: bytes) -> None:
    assert parse_request(BEGIN + b"Connection: Upgrade, HTTP2-Settings\r\n" + field + b"\r\n\r\n").passed is None


def test_filters_see_the_offer() -> None:
    assert (b"Upgrade", b"h2c") in parse_request(OFFER).head.headers


def test_requests_behind_an_offer_are_decided_one_by_one() -> None:
    played = Played()
    played.client(OFFER + GET_OTHER + OFFER)
    played.answer(ONE)
    played.answer(None)
    played.answer(ONE)
    assert played.sent_to(ONE) == HEADS["alone"][1] * 2
    assert played.sent_to(None) == GET_OTHER
    assert played.received == OK * 3
