"""The kernel's list of sockets, in both of its forms."""

import socket

from inpod.protocol.layer import Addr
from inpod.session import kernel_sockets as kernel
from inpod.session.incoming.listeners import LISTEN, LOOPBACK, LOOPBACK6, listening
from inpod.session.kernel_sockets import parse_place


def test_place_is_read_as_the_kernel_writes_it() -> None:
    assert parse_place(b"0100007F:1F90") == (Addr.of("127.0.0.1", 0).ip, 8080)
    assert parse_place(b"0000000000000000FFFF00000100007F:0050") == (Addr.of("127.0.0.1", 0).ip, 80)
    assert parse_place(b"00000000000000000000000001000000:0050") == (Addr.of("::1", 0).ip, 80)


def test_both_lists_of_the_kernel_say_the_same() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as other,
    ):
        mine = {
            (LOOPBACK, one.getsockname()[1]),
            (LOOPBACK6, other.getsockname()[1]),
        }
        assert mine <= {own for own, _ in kernel._asked([LISTEN])}
        assert mine <= {own for own, _ in kernel._read([LISTEN])}
    assert not mine & listening()
