import asyncio
import socket
from collections.abc import Iterator

import pytest

from inpod.tunnel.acceptor import RETRY_S, Acceptor
from tests.unit.descriptors import Counting, none_left
from tests.unit.tunnel.conftest import Run

LIMIT_S = 20


@pytest.fixture
def listener() -> Iterator[Counting]:
    with Counting() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


def caller(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname())


def test_without_descriptors_it_waits_for_some(run: Run, listener: Counting) -> None:
    async def main() -> None:
        taken: asyncio.Queue[socket.socket] = asyncio.Queue()
        acceptor = Acceptor([listener], lambda sock, _: taken.put_nowait(sock))
        with caller(listener):
            with none_left():
                await asyncio.sleep(3 * RETRY_S)  # or the loop would be busy with nothing else
            assert 1 <= listener.count <= 5
            assert acceptor.why_not == "Too many open files"
            (await asyncio.wait_for(taken.get(), LIMIT_S)).close()
            assert acceptor.why_not == ""
        acceptor.close()

    run(main)


def test_who_comes_in_a_pause_waits_for_its_end(run: Run, listener: Counting) -> None:
    async def main() -> None:
        taken: asyncio.Queue[socket.socket] = asyncio.Queue()

        def take(sock: socket.socket, _: object) -> None:
            acceptor.pause()
            taken.put_nowait(sock)

        acceptor = Acceptor([listener], take, at_a_time=64)
        with caller(listener), caller(listener):
            (await asyncio.wait_for(taken.get(), LIMIT_S)).close()
            assert listener.count == 1
            acceptor.resume()
            (await asyncio.wait_for(taken.get(), LIMIT_S)).close()
        acceptor.close()

    run(main)


def test_closed_one_stays_closed(run: Run, listener: Counting) -> None:
    async def main() -> None:
        acceptor = Acceptor([listener], lambda sock, _: None)
        acceptor.close()
        listener.close()
        acceptor.resume()

    run(main)
