"""What a program said before it closed its sockets: waited for as long as it gets on."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from inpod.session import relays
from inpod.session.relays import Relays
from inpod.tunnel.mux import WINDOW
from inpod.tunnel.streams import Stream
from tests.unit.tunnel.conftest import Run, tunnels
from tests.unit.tunnel.test_relay import socket_pair


def say_all_at_once(program: socket.socket) -> int:
    """Say as much as the kernel takes, and close; return how much that was."""
    program.setblocking(False)
    size = 0
    try:
        while True:
            size += program.send(bytes(65536))
    except BlockingIOError:
        program.close()
        return size


def taking(came: list[Stream]) -> Callable[[Stream, bytes], None]:
    """Return what takes all streams of a far end, and keeps them in `came`."""

    def on_stream(stream: Stream, head: bytes) -> None:
        stream.accept()
        came.append(stream)

    return on_stream


@pytest.fixture(autouse=True)
def looks_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relays, "LOOK_EVERY_S", 0.01)


@pytest.mark.parametrize("reads", [True, False], ids=["slowly", "never"])
def test_last_words_are_waited_for_as_long_as_they_get_on(run: Run, reads: bool) -> None:
    came: list[Stream] = []

    async def scenario() -> None:
        async with tunnels(taking(came)) as (first, _):
            (slow, slow_inner), (quick, quick_inner) = socket_pair("tcp"), socket_pair("tcp")
            own = Relays()
            streams = [first.open(b""), first.open(b"")]
            for stream, sock in zip(streams, (slow_inner, quick_inner), strict=True):
                await stream.accepted()
                own.join(stream, sock)
            quick.close()
            size = say_all_at_once(slow)
            assert size > 2 * WINDOW
            finishing = asyncio.ensure_future(own.finish())
            if not reads:
                assert await finishing is False
                assert streams[0].closed
                return
            taken = 0
            while taken < size:
                # Nothing of the program's goes on meanwhile, at fewer looks than are borne.
                await asyncio.sleep(relays.LOOK_EVERY_S * relays.STILL_LOOKS / 2)
                assert not finishing.done() or size - taken <= WINDOW
                taken += len(await came[0].read())
            assert await finishing is True

    run(scenario)


def test_who_stays_open_is_not_waited_for_though_another_of_the_same_port_ends(run: Run) -> None:
    """A process that the program left behind has it."""
    came: list[Stream] = []

    async def scenario() -> None:
        async with tunnels(taking(came)) as (first, _):
            own, program = Relays(), []
            with socket.create_server(("127.0.0.1", 0)) as listener:
                for _ in range(2):
                    sock = socket.create_connection(listener.getsockname())
                    program.append(listener.accept()[0])
                    stream = first.open(b"")
                    await stream.accepted()
                    own.join(stream, sock)
            left, ending = program
            # Its end is not here when one looks for it: it has more to say than goes.
            size = say_all_at_once(ending)
            finishing = asyncio.ensure_future(own.finish())
            await asyncio.sleep(relays.GRACE_S)
            while size:
                size -= len(await came[1].read())
            assert await finishing is True
            left.close()

    run(scenario)
