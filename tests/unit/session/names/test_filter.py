"""Whose a name is that a program asks name servers for, and what it sees of the hosts file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.config.outgoing import Way
from inpod.session.names.filter import NameFilter, joined_hosts

CONTRACT: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "contracts" / "rule-cases.json").read_text(encoding="utf-8")
)

SEARCH = ["shop.svc.cluster.local", "SVC.cluster.local.", "cluster.local", ""]


def names(remote: tuple[str, ...] = (), local: tuple[str, ...] = ()) -> NameFilter:
    found = NameFilter.of(Way(names_remote=remote, names_local=local), SEARCH)
    assert found is not None
    return found


FILTERED = [
    session for session in CONTRACT["sessions"] if {"names_remote", "names_local"} & {*session["plan"].get("way", {})}
]


@pytest.mark.parametrize("session", FILTERED, ids=lambda session: str(session["name"]))
def test_a_name_is_whose_it_is_for_libc(session: dict[str, Any]) -> None:
    """As native/rules decides; but for what no name server is asked for."""
    found = NameFilter.of(Way(**session["plan"]["way"]), [])
    assert found is not None
    cases = [case for case in session["names"] if not case["name"].replace(".", "").isdigit()]
    assert cases
    assert {case["name"]: not found.is_local(case["name"]) for case in cases} == {c["name"]: c["asks"] for c in cases}


def test_a_name_counts_with_and_without_a_domain_of_the_search_list() -> None:
    local = names(local=("db",))
    asked = ["db", "DB.", "db.shop.svc.cluster.local", "db.svc.cluster.local", "db.cluster.local"]
    assert all(local.is_local(name) for name in asked)
    assert not any(local.is_local(name) for name in ("xdb", "db.svc", "db.example", "db.shop.svc.cluster.local.org"))
    remote = names(remote=("db", "*.prod.svc"))
    assert not any(remote.is_local(name) for name in [*asked, "api.prod.svc", "api.prod.svc.cluster.local"])
    assert all(remote.is_local(name) for name in ("api", "prod.svc", "example.org"))


def test_both_lists_hold() -> None:
    both = names(remote=("*.example",), local=("api.example",))
    assert not both.is_local("db.example")
    assert both.is_local("api.example")
    assert both.is_local("db")


def test_places_of_addresses_are_the_targets_unless_they_are_named() -> None:
    assert not names(remote=("db",)).is_local("4.3.2.10.in-addr.arpa")
    assert not names(remote=("db",)).is_local("8.b.d.0.1.0.0.2.ip6.arpa")
    assert names(local=("*.10.in-addr.arpa",)).is_local("4.3.2.10.in-addr.arpa")


PODS = b"# kubelet\n127.0.0.1\tlocalhost\n10.1.2.3  web-0.web web-0 # me\n10.9.9.9 db\n\n10.9.9.8 cache db\nbroken\n"
OWN = b"127.0.0.1 localhost\n192.168.0.7 db db-here\n192.168.0.8 laptop"


def test_hosts_file_has_each_name_of_whose_it_is() -> None:
    assert joined_hosts(PODS, OWN, names(local=("db", "laptop")).is_local).decode().splitlines() == [
        "127.0.0.1\tlocalhost",
        "10.1.2.3\tweb-0.web web-0",
        "10.9.9.8\tcache",
        "192.168.0.7\tdb",
        "192.168.0.8\tlaptop",
    ]


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_hosts_files_are_joined(pods: bytes, own: bytes) -> None:
    found = names(local=("a", "*.b"))
    for line in joined_hosts(pods, own, found.is_local).splitlines():
        assert line.partition(b"\t")[2]
