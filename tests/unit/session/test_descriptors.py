"""What others connect to in a session that has no descriptors left."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from inpod.session import asked
from inpod.session.asked import Asked
from inpod.session.layer_server import LayerServer
from inpod.session.tasks import Tasks
from inpod.tunnel.acceptor import RETRY_S
from tests.unit.descriptors import Counting, none_left

LIMIT_S = 20


class Closable(Protocol):
    def close(self) -> None: ...


async def look() -> None:
    pass


def layer_server(folder: Path) -> Closable:
    return LayerServer(folder / "layer.sock", lambda request, fd: b"")


def asked_for_status(folder: Path) -> Closable:
    return Asked(folder, look, Tasks())


@pytest.mark.parametrize(
    ("begin", "name", "kind", "says"),
    [
        (layer_server, "layer.sock", socket.SOCK_SEQPACKET, b"no request"),
        (asked_for_status, asked.NAME, socket.SOCK_STREAM, b""),
    ],
    ids=["layer", "status"],
)
def test_who_comes_is_let_in_once_there_is_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begin: Callable[[Path], Closable],
    name: str,
    kind: int,
    says: bytes,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: list[Counting] = []

        def make(*arguments: int) -> socket.socket:
            made.append(Counting(*arguments))
            return made[-1]

        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", make)
            server = begin(tmp_path)
        (listener,) = made
        with contextlib.closing(server), socket.socket(socket.AF_UNIX, kind) as caller:
            caller.setblocking(False)
            caller.connect(str(tmp_path / name))
            caller.send(says)
            with none_left():
                await asyncio.sleep(3 * RETRY_S)  # or the loop would be busy with nothing else
            assert 1 <= listener.count <= 5
            # Then it is let in, and its connection is ended.
            assert await asyncio.wait_for(loop.sock_recv(caller, 1), LIMIT_S) == b""

    asyncio.run(main())
