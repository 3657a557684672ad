"""Connections of the program that leave from the pod: TCP here, UDP in `datagrams`.

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
from inpod.session.datagrams import AnswerBy, Datagrams
from inpod.session.loopback import HOST, HOST6, loopback_of, plain
from inpod.session.relays import Relays
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

ESTABLISHED, SYN_SENT = 1, 2
"""TCP_INFO's first byte (linux/tcp_states.h)."""

PROGRAM_CONNECTS_WITHIN_S = 60.0
"""Between our answer and the program's connect() lie microseconds, unless a debugger stops it there."""

LOOK_EVERY_S = 0.005
"""How soon at the latest that connect() is seen: there is no event for it."""

MAX_CONNECTIONS = 8192


class HeldPort:
    """A loopback port whose listener drops every SYN, as its queue is full."""

    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        self.host = host
        self._family = family
        self._listener = self._reusable()
        try:
            self._listener.bind((host, 0))
            self._listener.listen(0)
            self.port: int = self._listener.getsockname()[1]
            self._filler = socket.socket(family)
            self._filler.connect((host, self.port))  # a queue of length 0 holds one: now it is full
        except OSError:
            self._listener.close()
            raise

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
            sock.setblocking(False)
            sock.bind((self.host, self.port))
            code = sock.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            # On loopback all three packets have passed before connect(2) returns.
            if _state(sock) != ESTABLISHED:
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

    def __init__(
        self,
        tunnel: Callable[[], Tunnel],
        table: Table,
        own_listener: Callable[[Addr], Addr | None],
        tasks: Tasks,
        relays: Relays,
        answer_by: AnswerBy = lambda port, request: None,
    ) -> None:
        """Hold the ports.

        Args:
            own_listener: Returns where the program itself listens on an address, if it does.
            answer_by: See `Datagrams`.
        """
        self._tunnel = tunnel
        self._table = table
        self._own_listener = own_listener
        self._tasks = tasks
        self._relays = relays
        self._count = 0
        self._held = HeldPort(socket.AF_INET, HOST)
        self._held6: HeldPort | None = None
        with contextlib.suppress(OSError):
            self._held6 = HeldPort(socket.AF_INET6, HOST6)
        self._datagrams = Datagrams(tunnel, table, tasks, answer_by)
        self.on_first: Callable[[], None] | None = None

    def close(self) -> None:
        """Give the ports back. What the program sent is still delivered, as far as the tunnel stays."""
        self._datagrams.close()
        self._held.close()
        if self._held6 is not None:
            self._held6.close()

    def connect(self, request: Connect, fd: int) -> bytes:
        """Return the reply at once; the connection is decided later."""
        if fd < 0:
            return encode_reply(errno.EBADF)
        program = socket.socket(fileno=fd)
        if program.type == socket.SOCK_DGRAM:
            with program:
                self._tell_first()
                return self._datagrams.connect(request, program)
        own = self._own_listener(request.to)
        if own is not None:
            program.close()
            return encode_reply(0, Redirect(own))
        held = self._held6 if loopback_of(program) == HOST6 else self._held
        if held is None or self._count >= MAX_CONNECTIONS:
            program.close()
            return encode_reply(errno.EADDRNOTAVAIL if held is None else errno.EAGAIN)
        self._tell_first()
        to = agent.Address(request.to.host, request.to.port)
        # Opened here and not in the task: the question leaves one turn of the loop earlier.
        stream = self._tunnel().open(agent.encode(agent.Connect(to)))
        self._count += 1
        self._tasks.spawn(self._carry(request, stream, program, held)).add_done_callback(self._ended)
        return encode_reply(0, Redirect(Addr.of(held.host, held.port, request.to.family)))

    def _tell_first(self) -> None:
        if self.on_first is not None:
            on_first, self.on_first = self.on_first, None
            on_first()

    def _ended(self, _: object) -> None:
        self._count -= 1

    async def _carry(self, request: Connect, stream: Stream, program: socket.socket, held: HeldPort) -> None:
        """Decide the program's connect as the pod's was decided, then pass bytes."""
        try:
            with program:
                sock = await self._decide(request, stream, program, held)
            if sock is not None:
                await self._relays.run(stream, sock)
        finally:
            stream.refuse()

    async def _decide(
        self, request: Connect, stream: Stream, program: socket.socket, held: HeldPort
    ) -> socket.socket | None:
        try:
            connected = agent.decode_answer(agent.Connected, await stream.accepted())
            local = connected.local
            ip = Addr.of(local.ip.partition("%")[0], local.port, request.to.family)
            self._table.set_local(request.cookie, ip)
            address = await _connecting(program)
            return None if address is None else await held.join(address)
        except StreamRefused as refused:
            # That of a cut network when the link is lost.
            code = agent.errno_of(refused.payload, errno.ENETUNREACH)
        except agent.PeerProtocolError:
            code = errno.ENETUNREACH
        except OSError as error:
            code = error.errno or errno.ECONNABORTED
        self._table.set_errno(request.cookie, code)
        if await _connecting(program) is not None:
            with contextlib.suppress(OSError):
                program.shutdown(socket.SHUT_RDWR)
        return None


async def _connecting(program: socket.socket) -> tuple[str, int] | None:
    """Return the loopback address of a socket once it is in SYN_SENT; None when it never is."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PROGRAM_CONNECTS_WITHIN_S
    pause = 0.0
    while True:
        with contextlib.suppress(OSError):
            if _state(program) == SYN_SENT:
                return plain(program.getsockname())
        if loop.time() > end:
            return None
        # The program was answered before this runs: it is about to call connect().
        await asyncio.sleep(pause)
        pause = min(pause + 0.0001, LOOK_EVERY_S)


def _state(sock: socket.socket) -> int:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]


def close_fd(fd: int) -> None:
    """Close a descriptor that came with a request that has no use for it."""
    if fd >= 0:
        os.close(fd)
