import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.dns.config import ResolvConf, candidates, find_in_hosts, parse_resolv_conf

KUBERNETES = b"""\
search default.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
"""


def test_resolv_conf_of_a_pod() -> None:
    assert parse_resolv_conf(KUBERNETES) == ResolvConf(
        nameservers=("10.96.0.10",),
        search=(b"default.svc.cluster.local", b"svc.cluster.local", b"cluster.local"),
        ndots=5,
    )


def test_empty_resolv_conf_means_this_host() -> None:
    assert parse_resolv_conf(b"") == ResolvConf(nameservers=("127.0.0.1",))


def test_options_are_bounded_and_the_last_search_counts() -> None:
    data = (
        b"search a b\ndomain c\n# nameserver 9.9.9.9\noptions ndots:99 timeout:0 attempts:7 rotate\noptions use-vc x:\n"
    )
    assert parse_resolv_conf(data) == ResolvConf(search=(b"c",), ndots=15, timeout_s=1, attempts=5, use_tcp=True)


def test_three_nameservers_at_most_and_no_names() -> None:
    lines = [b"nameserver " + a for a in (b"dns.example", b"10.0.0.1", b"fe80::1%eth0", b"::1", b"10.0.0.4")]
    assert parse_resolv_conf(b"\n".join(lines)).nameservers == ("10.0.0.1", "fe80::1%eth0", "::1")


@given(st.binary())
def test_any_resolv_conf_gives_settings(data: bytes) -> None:
    assert parse_resolv_conf(data).nameservers


@given(st.binary())
def test_any_hosts_file_is_searched(data: bytes) -> None:
    find_in_hosts(data, b"name", (4, 6))


HOSTS = b"""\
127.0.0.1\tlocalhost
::1 localhost ip6-localhost
10.1.2.3 Web.example web  # alias
10.1.2.4 web
fe80::zz web
fd00::3 web6 # web
"""


@pytest.mark.parametrize(
    ("name", "versions", "expected"),
    [
        (b"WEB", (4, 6), ("Web.example", ["10.1.2.3", "10.1.2.4"])),
        (b"web.", (4,), ("Web.example", ["10.1.2.3", "10.1.2.4"])),
        (b"web", (6,), ("", [])),
        (b"localhost", (4, 6), ("localhost", ["127.0.0.1", "::1"])),
        (b"alias", (4, 6), ("", [])),
    ],
)
def test_hosts(name: bytes, versions: tuple[int, ...], expected: tuple[str, list[str]]) -> None:
    assert find_in_hosts(HOSTS, name, versions) == expected


@pytest.mark.parametrize(
    ("name", "ndots", "expected"),
    [
        (b"web", 1, [b"web.a", b"web.b.c", b"web"]),
        (b"web.x", 1, [b"web.x", b"web.x.a", b"web.x.b.c"]),
        (b"web.x", 5, [b"web.x.a", b"web.x.b.c", b"web.x"]),
        (b"web.x.", 5, [b"web.x"]),
        (b"web", 0, [b"web", b"web.a", b"web.b.c"]),
    ],
)
def test_search_list(name: bytes, ndots: int, expected: list[bytes]) -> None:
    assert candidates(name, ResolvConf(search=(b"a", b"b.c."), ndots=ndots)) == expected
