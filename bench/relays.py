"""The tunnel alone: client - relay - tunnel - relay - service, in two processes on uvloop, without session and agent.

`python -m bench.relays tunnel|splice near|far FD PORT TO`: one of the two processes. Its yardstick is `splice`: the same
two processes, each copying between sockets and nothing else.
"""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import cast

import uvloop

from bench.exec import environment
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import Stream, Tunnel

NEAR_PORT, FAR_PORT = 7321, 7341
START_LIMIT_S = 10.0
LOOK_AGAIN_S = 0.02

Serve = Callable[[socket.socket], Coroutine[object, object, None]]


class _Splice(asyncio.Protocol):
    """Half of a splice: writes what it receives to its peer."""

    def __init__(self, peer: "_Splice | None" = None) -> None:
        self.peer = peer
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


async def _dial(host: str, port: int) -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, port))
    return sock


async def _accept(port: int, tasks: "_Tasks", serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        listener.setblocking(False)
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(listener)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tasks.add(serve(sock))


class _Tasks:
    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[None]] = set()

    def add(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _run(kind: str, side: str, fd: int, port: int, host: str, to: int) -> None:
    tasks = _Tasks()

    async def carry(stream: Stream) -> None:
        sock = await _dial(host, to)
        stream.accept()
        await relay(stream, sock)

    tunnel = Tunnel(initiator=side == "near", on_stream=lambda stream, head: tasks.add(carry(stream)))

    async def serve(sock: socket.socket) -> None:
        if kind == "tunnel":
            stream = tunnel.open(b"")
            await stream.accepted()
            await relay(stream, sock)
            return
        loop = asyncio.get_running_loop()
        near = _Splice()
        _, far = await loop.create_connection(lambda: _Splice(near), sock=await _dial(host, to))
        near.peer = far
        await loop.create_connection(lambda: near, sock=sock)

    link = socket.socket(fileno=fd)
    if kind == "tunnel":
        await tunnel.attach(link)
    if side == "near" or kind == "splice":
        tasks.add(_accept(port, tasks, serve))
    gc.freeze()
    if kind == "tunnel":
        await tunnel.lost
    else:
        link.setblocking(False)
        await asyncio.get_running_loop().sock_recv(link, 1)


@contextmanager
def running(kind: str, host: str, to: int) -> Iterator[int]:
    """Run both processes; yield the port that leads to `to`."""
    here, there = socket.socketpair()
    base = [sys.executable, "-m", "bench.relays", kind]
    processes = []
    with here, there, contextlib.ExitStack() as undo:
        for side, end, port, next_hop in (
            ("far", there, FAR_PORT, (host, to)),
            ("near", here, NEAR_PORT, ("127.0.0.1", FAR_PORT) if kind == "splice" else (host, to)),
        ):
            arguments = [side, str(end.fileno()), str(port), next_hop[0], str(next_hop[1])]
            processes.append(
                undo.enter_context(subprocess.Popen([*base, *arguments], pass_fds=[end.fileno()], env=environment()))
            )
        try:
            if kind == "splice":
                _wait_for(FAR_PORT)
            _wait_for(NEAR_PORT)
            yield NEAR_PORT
        finally:
            for process in processes:
                process.terminate()


def _wait_for(port: int) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(LOOK_AGAIN_S)
    raise RuntimeError("the relays did not start")


if __name__ == "__main__":
    kind, side, fd, port, host, to = sys.argv[1:]
    uvloop.run(_run(kind, side, int(fd), int(port), host, int(to)))
