"""Ports that connections to the program come from."""

import asyncio
import errno
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.protocol.layer import Addr
from inpod.session.incoming import sources
from inpod.session.incoming.sources import Sources
from inpod.session.table import Table
from inpod.tunnel import local_ports

PEER, LOCAL = Addr.of("10.0.0.2", 40000), Addr.of("10.0.0.1", 80)
PATIENCE_S = 30
"""Half of the time for which a port that is not named stays away (TIME_WAIT)."""


@pytest.fixture
def program() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_a_connection_is_forgotten_after_a_while_and_never_after_the_end(
    tmp_path: Path, program: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FORGET_AFTER_S", 0.0)

    async def main() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        table = Table(tmp_path / "table")
        ports = Sources(table)
        (one, first, _), (other, second, _) = (
            ports.connect(program.getsockname(), peer=PEER, local=LOCAL) for _ in range(2)
        )
        one.close()
        other.close()
        ports.ended(first)
        await asyncio.sleep(0)
        ports.close()
        table.close()
        ports.ended(second)
        await asyncio.sleep(0.01)
        assert complaints == []

    asyncio.run(main())


def test_port_is_used_again_long_before_the_kernel_forgets_its_last_connection(
    tmp_path: Path, program: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        only = free.getsockname()[1]
    monkeypatch.setattr(local_ports, "_local_ports", lambda: range(only, only + 1))

    async def main() -> None:
        table = Table(tmp_path / "table")
        ports = Sources(table)
        try:
            connect(ports)
            until = time.monotonic() + PATIENCE_S
            while True:
                try:
                    connect(ports)
                    break
                except OSError as error:
                    if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > until:
                        raise
                await asyncio.sleep(0.05)
        finally:
            ports.close()
            table.close()

    def connect(ports: Sources) -> None:
        sock, source, _ = ports.connect(program.getsockname(), peer=PEER, local=LOCAL)
        accepted, _ = program.accept()
        with accepted, sock:
            # We end it first, so the kernel keeps it at our port.
            sock.shutdown(socket.SHUT_WR)
            assert accepted.recv(1) == b""
        assert source == only
        ports.ended(source)

    asyncio.run(main())
