"""What leaves from the target, as configured."""

import json

import pytest

from inpod.config.load import Options, parse, settings
from inpod.config.outgoing import Way
from inpod.errors import UserError


def way(network: object = None, **options: bool) -> Way:
    file = parse(json.dumps({"feature": {"network": network or {}}}).encode(), "inpod.json").file
    return settings(Options(**options), file).way  # type: ignore[arg-type]  # switches only


def test_all_leaves_from_the_target_unless_told() -> None:
    assert way() == way({"outgoing": True, "dns": True}) == way({"outgoing": {}, "dns": {}}) == Way()
    assert way({"outgoing": False}) == Way(tcp=False, udp=False)
    assert way({"outgoing": {"tcp": False}, "dns": False}) == Way(tcp=False, names=False)
    assert way({"outgoing": {"ignore_localhost": True}, "dns": {"enabled": False}}) == Way(localhost=False, names=False)
    assert way(outgoing_udp=False, remote_names=False) == Way(udp=False, names=False)


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("10.0.0.5", "* 10.0.0.5/32 *"),
        ("10.1.2.3/8", "* 10.0.0.0/8 *"),
        ("tcp://10.0.0.0/8:443", "tcp 10.0.0.0/8 443"),
        ("udp://:53", "udp * 53"),
        (":5432", "* * 5432"),
        ("0.0.0.0/0:80", "* * 80"),
        ("tcp://0.0.0.0:80", "tcp * 80"),
        ("[::]:80", "* * 80"),
        ("10.0.0.5:0", "* 10.0.0.5/32 *"),
        ("[fd00::5]:80", "* fd00::5/128 80"),
        ("tcp://[fd00::]/8", "tcp fd00::/8 *"),
        ("db.default.svc:5432", "* name:db.default.svc 5432"),
        ("udp://my_db-0.", "udp name:my_db-0 *"),
    ],
)
def test_destinations_become_lines(entry: str, line: str) -> None:
    assert way({"outgoing": {"filter": {"remote": [entry]}}}).remote == (line,)
    assert way({"outgoing": {"filter": {"local": [entry]}}}).local == (line,)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("", "no destination"),
        ("*.default.svc:5432", "'*.default.svc' is no name"),
        ("10.0.0", "'10.0.0' is no name, no IP address"),
        ("10.0.0.0/33", "no network"),
        ("10.0.0.1:70000", "70000 is no port"),
        ("http://10.0.0.1", "no destination"),
        ("10.0.0.1:80:90", "no destination"),
    ],
)
def test_bad_destinations_are_told_with_their_place(entry: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        way({"outgoing": {"filter": {"remote": ["10.0.0.1", entry]}}})
    assert "feature.network.outgoing.filter.remote[1]" in caught.value.message
    assert says in caught.value.message


@pytest.mark.parametrize("entry", ["", "*", "a..b", "db:80", "10.0.0.0/8", "a b", "x" * 64, "*.*.x"])
def test_bad_names_are_told_with_their_place(entry: str) -> None:
    with pytest.raises(UserError, match=r"dns\.filter\.local\[0\]: .* is no name"):
        way({"dns": {"filter": {"local": [entry]}}})


def test_names_can_be_chosen() -> None:
    assert way({"dns": {"filter": {"remote": ["db.", "*.svc"]}}}) == Way(names_remote=("db", "*.svc"))
    assert way({"dns": {"filter": {"local": ["db"]}}}) == Way(names_local=("db",))


def test_two_lists_exclude_each_other() -> None:
    with pytest.raises(UserError, match=r"dns\.filter\.remote and"):
        way({"dns": {"filter": {"remote": [], "local": []}}})
    with pytest.raises(UserError, match="exclude each other"):
        way({"outgoing": {"filter": {"remote": [], "local": []}}})


def test_unix_sockets_can_be_chosen() -> None:
    assert way({"outgoing": {"unix_streams": "^/run/"}}) == Way(unix_streams=("^/run/",))
    assert way({"outgoing": {"unix_streams": ["a", "b$"]}}) == Way(unix_streams=("a", "b$"))
    with pytest.raises(UserError) as caught:
        way({"outgoing": {"unix_streams": ["a", "b(c"]}})
    assert "feature.network.outgoing.unix_streams[1]: missing )" in caught.value.message
    assert caught.value.shown == "    b(c\n     ^"
