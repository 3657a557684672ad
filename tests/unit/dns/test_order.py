"""In which order addresses are told, where some cannot be tried."""

import resource

from inpod.dns.resolver import reachable_first


def test_address_of_a_device_that_is_not_here_comes_last() -> None:
    assert reachable_first(["fe80::1%nowhere", "127.0.0.1"]) == ["127.0.0.1", "fe80::1%nowhere"]


def test_addresses_that_nobody_can_try_stay() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        # As on a kernel without IPv6, which makes no such socket.
        found = reachable_first(["127.0.0.1", "::1"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sorted(found) == ["127.0.0.1", "::1"]
