"""Which of the program's listeners takes a connection, and whether it listens."""

import socket

import pytest

from inpod.protocol.layer import Addr
from inpod.session.incoming.listeners import Listener, choose, is_loopback, listening

V4 = Listener(Addr.of("0.0.0.0", 80), Addr.of("127.0.0.1", 80))
V6_ONLY = Listener(Addr.of("::", 80), Addr.of("::1", 80))
DUAL = Listener(Addr.of("::", 80), Addr.of("127.0.0.1", 80, 6))
PORT_0_ANY = Listener(Addr.of("0.0.0.0", 0), Addr.of("0.0.0.0", 4000))
PORT_0_DUAL = Listener(Addr.of("::", 0), Addr.of("::", 4000))
CALLER, CALLER6 = Addr.of("10.1.2.3", 5).ip, Addr.of("fd00::3", 5).ip


@pytest.mark.parametrize(
    ("listeners", "ip", "chosen"),
    [
        ([V4], CALLER, V4),
        ([V4], CALLER6, None),
        ([V6_ONLY], CALLER, None),
        ([V6_ONLY], CALLER6, V6_ONLY),
        ([DUAL], CALLER, DUAL),
        ([DUAL], CALLER6, DUAL),
        ([V6_ONLY, V4], CALLER, V4),
        ([V4, V6_ONLY], CALLER6, V6_ONLY),
        ([DUAL, V4], CALLER, V4),
        ([], CALLER, None),
    ],
)
def test_listener_is_chosen_by_version_of_ip(listeners: list[Listener], ip: bytes, chosen: Listener | None) -> None:
    assert choose(listeners, ip) is chosen


@pytest.mark.parametrize(
    ("listener", "to", "reached"),
    [
        (V4, "10.9.9.9", "127.0.0.1:80"),
        (V6_ONLY, "fd00::9", "[::1]:80"),
        (PORT_0_ANY, "10.9.9.9", "127.0.0.1:4000"),
        (PORT_0_DUAL, "::1", "[::1]:4000"),
        (PORT_0_DUAL, "127.0.0.1", "127.0.0.1:4000"),
    ],
)
def test_own_listener_is_reached_by_loopback(listener: Listener, to: str, reached: str) -> None:
    assert str(listener.address_for(Addr.of(to, 80))) == reached


def test_listening_is_what_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        place = (Addr.of("127.0.0.1", 0).ip, listener.getsockname()[1])
        assert place in listening()
    assert place not in listening()


@pytest.mark.parametrize(
    ("host", "is_so"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("0.0.0.0", True), ("::", True), ("::1", True), ("10.0.0.1", False)],
)
def test_loopback(host: str, is_so: bool) -> None:
    assert is_loopback(Addr.of(host, 0).ip) is is_so
    if ":" not in host:
        assert is_loopback(Addr.of(f"::ffff:{host}", 0).ip) is is_so
