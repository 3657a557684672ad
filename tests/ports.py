"""Ports of this machine that tests use."""

import socket


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that any program can have.

    Without SO_REUSEADDR: with it the kernel gives ports, too, on which connections of before still wait (TIME_WAIT), and
    they are nobody's who does not set it.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
