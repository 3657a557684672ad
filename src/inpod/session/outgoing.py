"""Connections of the program that leave from the pod.

The program's own socket is connected to a loopback port of ours whose accept queue is full, so that it stays in SYN_SENT
(docs/how-it-works/outgoing.md). When the agent's connect is decided, so is the program's: accepted, we connect *to* the
program's port (TCP simultaneous open, RFC 9293 section 3.5); failed, its errno goes into the table and we shut the
program's socket down. Blocking, non-blocking, poll and epoll all see the truth, at the pod's time.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

from inpod.protocol import agent
from inpod.protocol.layer import Addr, Connect, Redirect, encode_reply
from inpod.session.table import Table
from inpod.tunnel.relay import relay
from inpod.tunnel.streams import StreamRefused, Tunnel

SYN_SENT = 2
"""TCP_INFO's first byte (linux/tcp_states.h)."""

PROGRAM_CONNECTS_WITHIN_S = 5.0
"""Between our answer and the program's connect() lie microseconds; a stopped program may take longer."""


class HeldPort:
    """A loopback port whose listener drops every SYN, as its queue is full."""

    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        self.host = host
        self._family = family
        self._listener = self._reusable()
        self._listener.bind((host, 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._filler = socket.socket(family)
        self._filler.connect((host, self.port))  # a queue of length 0 holds one: now it is full

    def _reusable(self) -> socket.socket:
        sock = socket.socket(self._family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return sock

    async def join(self, address: tuple[str, int]) -> socket.socket:
        """Return our end of a connection with a socket in SYN_SENT at `address`.

        Raises:
            OSError: It is no longer there.
        """
        sock = self._reusable()
        try:
            sock.bind((self.host, self.port))
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        """Give the port back."""
        self._listener.close()
        self._filler.close()


class Outgoing:
    """Answers CONNECT requests and carries the connections."""

    def __init__(self, tunnel: Callable[[], Tunnel], table: Table, own_listener: Callable[[Addr], Addr | None]) -> None:
        self._tunnel = tunnel
        self._table = table
        self._own_listener = own_listener
        self._held = HeldPort(socket.AF_INET, "127.0.0.1")
        self._held6: HeldPort | None = None
        with contextlib.suppress(OSError):
            self._held6 = HeldPort(socket.AF_INET6, "::1")
        self._tasks: set[asyncio.Future[None]] = set()
        self.on_first: Callable[[], None] | None = None

    def close(self) -> None:
        """End all connections."""
        for task in self._tasks:
            task.cancel()
        self._held.close()
        if self._held6 is not None:
            self._held6.close()

    def connect(self, request: Connect, fd: int) -> bytes:
        """Return the reply at once; the connection is decided later."""
        if fd < 0:
            return encode_reply(errno.EBADF)
        program = socket.socket(fileno=fd)
        own = self._own_listener(request.to)
        if own is not None:
            program.close()
            return encode_reply(0, Redirect(Addr(request.to.family, own.port, own.ip)))
        held = self._held_for(program)
        if held is None:
            program.close()
            return encode_reply(errno.EADDRNOTAVAIL)
        if self.on_first is not None:
            on_first, self.on_first = self.on_first, None
            on_first()
        task = asyncio.ensure_future(self._carry(request, program, held))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return encode_reply(0, Redirect(Addr.of(held.host, held.port, request.to.family)))

    def _held_for(self, program: socket.socket) -> HeldPort | None:
        if program.family == socket.AF_INET6 and program.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            return self._held6
        return self._held

    async def _carry(self, request: Connect, program: socket.socket, held: HeldPort) -> None:
        """Decide the program's connect as the pod's was decided, then pass bytes."""
        with program:
            stream = self._tunnel().open(agent.encode(agent.Connect(agent.Address(request.to.host, request.to.port))))
            try:
                connected = agent.decode_answer(agent.Connected, await stream.accepted())
                address = await _connecting(program)
                if address is None:
                    stream.refuse()
                    return
                local = Addr.of(connected.local.ip, connected.local.port, request.to.family)
                self._table.set_local(request.cookie, local)
                sock = await held.join(address)
            except (StreamRefused, agent.PeerProtocolError) as refused:
                self._table.set_errno(request.cookie, _errno_of(refused))
                if await _connecting(program) is not None:
                    with contextlib.suppress(OSError):
                        program.shutdown(socket.SHUT_RDWR)
                return
            except OSError:
                stream.refuse()
                return
        await relay(stream, sock)


async def _connecting(program: socket.socket) -> tuple[str, int] | None:
    """Return the loopback address of a socket once it is in SYN_SENT; None when it never is."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PROGRAM_CONNECTS_WITHIN_S
    pause = 0.0
    while True:
        with contextlib.suppress(OSError):
            if program.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == SYN_SENT:
                host, port = program.getsockname()[:2]
                return host.removeprefix("::ffff:"), port
        if loop.time() > end:
            return None
        # The program was answered before this runs: it is about to call connect(), and there is no event for that.
        await asyncio.sleep(pause)
        pause = min(pause + 0.0001, 0.005)


def _errno_of(refused: Exception) -> int:
    if isinstance(refused, StreamRefused) and refused.payload:
        with contextlib.suppress(agent.PeerProtocolError):
            return agent.decode_answer(agent.Refusal, refused.payload).code or errno.ECONNREFUSED
    return errno.ENETUNREACH


def close_fd(fd: int) -> None:
    """Close a descriptor that came with a request that has no use for it."""
    if fd >= 0:
        os.close(fd)
