import os

import pytest

from inpod.agent.addresses import parse_addresses
from inpod.agent.target import TargetError, find_container, parse_environ


def test_environ_takes_the_first_of_a_name_and_skips_titles() -> None:
    data = b"A=1\0B=x=y\0A=2\0nginx: worker\0=odd\0EMPTY=\0\xff=\xfe\0"
    assert parse_environ(data) == {b"A": b"1", b"B": b"x=y", b"EMPTY": b"", b"\xff": b"\xfe"}


def test_container_that_runs_nowhere_is_an_error() -> None:
    with pytest.raises(TargetError, match=r"no process of container 0123456789ab runs here"):
        find_container("0123456789abcdef" * 4)


@pytest.mark.parametrize("data", [b"", b"\0" * 40, os.urandom(64)])
def test_odd_netlink_answers_name_no_address(data: bytes) -> None:
    assert parse_addresses(data)[0] == []
