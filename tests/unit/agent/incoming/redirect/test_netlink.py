"""Messages to and from the kernel, as bytes."""

import errno
import socket
import struct

import pytest

from inpod.agent.incoming import flush
from inpod.agent.incoming.redirect import netlink, nftables, ruleset
from inpod.agent.incoming.redirect.connections import ESTABLISHED, connections, own_inodes
from inpod.protocol.agent import Address


def test_attributes_are_padded_and_found_again() -> None:
    data = netlink.text(1, "abc") + netlink.number(2, -99) + netlink.nested(3, netlink.attribute(1, b"x"))
    assert len(data) % 4 == 0
    found = netlink.parse_attributes(data)
    assert found[1] == b"abc\0"
    assert found[2] == struct.pack(">i", -99)
    assert netlink.parse_attributes(found[3]) == {1: b"x"}


@pytest.mark.parametrize("data", [b"\1", b"\0\0\0\0", b"\3\0\1\0", b"\xff\xff\1\0"])
def test_broken_attributes_end_the_parsing(data: bytes) -> None:
    assert all(len(value) <= len(data) for value in netlink.parse_attributes(data).values())


def test_table_is_owned_and_made_once() -> None:
    first, *_ = ruleset.create("t")
    attributes = netlink.parse_attributes(first.body)
    assert first.kind == ruleset.NEW_TABLE
    assert first.flags & netlink.EXCLUSIVE
    assert attributes[ruleset.TABLE_FLAGS] == struct.pack(">I", ruleset.OWNER)


def test_no_port_is_diverted_before_it_is_asked_for() -> None:
    assert not [message for message in ruleset.create("t") if message.kind == ruleset.NEW_ELEMENT]


def test_addresses_are_sorted_by_version() -> None:
    addresses = [socket.inet_aton("10.0.0.1"), socket.inet_pton(socket.AF_INET6, "fd00::1")]
    messages = [message for message in ruleset.create("t", addresses) if message.kind == ruleset.NEW_ELEMENT]
    sets = [netlink.parse_attributes(message.body)[2] for message in messages]
    assert sets == [b"addresses4\0", b"addresses6\0"]
    assert all(address in message.body for address, message in zip(addresses, messages, strict=True))


def test_beat_renews_in_one_transaction() -> None:
    before, after = ruleset.beat("t", 2000)
    assert (before.kind, after.kind) == (ruleset.DELETE_ELEMENT, ruleset.NEW_ELEMENT)
    # Deleting without naming elements: an expired one would be missing.
    assert 3 not in netlink.parse_attributes(before.body)
    assert struct.pack(">Q", 2000) in after.body


@pytest.mark.parametrize(
    ("code", "release", "words"),
    [
        (errno.EPERM, "6.1.0", ["EPERM", "CAP_NET_ADMIN"]),
        (errno.EINVAL, "5.10.0-28-amd64", ["Linux 5.12", "5.10.0-28-amd64"]),
        (errno.EOPNOTSUPP, "6.1.0", ["TSUP", "flags owner"]),
        (errno.EPROTONOSUPPORT, "6.1.0", ["lacks nf_tables"]),
        (errno.ENOENT, "6.1.0", ["lacks nf_tables"]),
        (errno.ENOMEM, "odd", ["ENOMEM"]),
    ],
)
def test_refusal_is_explained(code: int, release: str, words: list[str]) -> None:
    said = nftables.explain(OSError(code, "flags owner are ignored"), release)
    assert all(word in said for word in ["stealing by nftables", *words]), said


@pytest.mark.parametrize(
    ("code", "word"), [(errno.EPERM, "CAP_NET_ADMIN"), (errno.EOPNOTSUPP, "INET_DIAG_DESTROY"), (errno.EIO, "odd")]
)
def test_refused_flush_is_explained(code: int, word: str) -> None:
    assert word in flush.explain(OSError(code, "odd"))


def test_ipv4_of_an_ipv6_socket_is_ipv4() -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server,
        socket.create_connection(("127.0.0.1", server.getsockname()[1])) as client,
        server.accept()[0] as accepted,
    ):
        port = server.getsockname()[1]
        (found,) = connections(ESTABLISHED, own_port=port)
        assert found.own == Address("127.0.0.1", port)
        assert found.peer == Address("127.0.0.1", client.getsockname()[1])
        assert found.family == socket.AF_INET6
        assert found.inode in own_inodes()
        assert accepted.fileno() >= 0
        (other,) = connections(ESTABLISHED, peer_port=port)
        assert (other.own, other.peer) == (found.peer, found.own)


def test_connection_that_nobody_accepted_has_no_inode() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        (found,) = connections(ESTABLISHED, own_port=server.getsockname()[1])
        assert found.inode == 0
