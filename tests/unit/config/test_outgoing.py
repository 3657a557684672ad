"""What leaves from the target, as configured."""

import json

import pytest

from inpod.config.load import Options, parse, settings
from inpod.config.outgoing import Way
from inpod.errors import UserError


def way(network: object = None, **options: bool) -> Way:
    file = parse(json.dumps({"feature": {"network": network or {}}}).encode(), "inpod.json")
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
        ("[fd00::5]:80", "* fd00::5/128 80"),
        ("tcp://[fd00::]/8", "tcp fd00::/8 *"),
    ],
)
def test_destinations_become_lines(entry: str, line: str) -> None:
    assert way({"outgoing": {"filter": {"remote": [entry]}}}).remote == (line,)
    assert way({"outgoing": {"filter": {"local": [entry]}}}).local == (line,)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("", "no destination"),
        ("db.default.svc:5432", "'db.default.svc' is no IP address"),
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


def test_two_lists_exclude_each_other() -> None:
    with pytest.raises(UserError, match="exclude each other"):
        way({"outgoing": {"filter": {"remote": [], "local": []}}})
