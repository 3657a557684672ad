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
from dataclasses import dataclass

from inpod.protocol import agent
from inpod.protocol.layer import Addr, Connect, Redirect, encode_reply
from inpod.session.loopback import HOST, HOST6, loopback_of, plain
from inpod.session.names.here import LocalNames
from inpod.session.outgoing.datagrams import DNS, AnswerBy, Datagrams
from inpod.session.relays import Relays
from inpod.session.table import Table
from inpod.session.tasks import Tasks
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel
from inpod.tunnel.tcp_state import SYN_SENT, is_established, tcp_state

PROGRAM_CONNECTS_WITHIN_S = 60.0
"""Between our answer and the program's connect() lie microseconds, unless a debugger stops it there."""

LOOK_EVERY_S = 0.005
"""How soon at the latest that connect() is seen: there is no event for it."""

MAX_CONNECTIONS = 16000


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

    def join(self, address: tuple[str, int]) -> socket.socket:
        """Return our end of a connection with a socket in SYN_SENT at `address`, which may take a moment to be made.

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
        names: LocalNames | None = None,
    ) -> None:
        """Hold the ports.

        Args:
            own_listener: Returns where the program itself listens on an address, if it does.
            answer_by, names: See `Datagrams`.
        """
        self._tunnel = tunnel
        self.table = table
        self._own_listener = own_listener
        self.tasks = tasks
        self.relays = relays
        self._count = 0
        self.is_closed = False
        self._held = HeldPort(socket.AF_INET, HOST)
        self._held6: HeldPort | None = None
        with contextlib.suppress(OSError):
            self._held6 = HeldPort(socket.AF_INET6, HOST6)
        self._datagrams = Datagrams(tunnel, table, tasks, answer_by, names)
        self._names = names
        self.on_first: Callable[[], None] | None = None

    def close(self) -> None:
        """Give the ports back. What the program sent is still delivered, as far as the tunnel stays."""
        self.is_closed = True
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
        # At once: the agent can begin before the program has our answer.
        stream = self._tunnel().open(agent.encode(agent.Connect(to)), at_once=True)
        self._count += 1
        undecided = _Undecided(request, stream, program, held, self)
        stream.when_decided(undecided.decided)
        return encode_reply(0, Redirect(Addr.of(held.host, held.port, request.to.family)))

    def _tell_first(self) -> None:
        if self.on_first is not None:
            on_first, self.on_first = self.on_first, None
            on_first()

    def ended(self) -> None:
        """Count one less."""
        self._count -= 1

    def join(self, request: Connect, stream: Stream, sock: socket.socket) -> None:
        """Pass bytes from now on, and count one less at their end."""
        if self._names is not None and request.to.port == DNS:
            self.tasks.spawn(self._names.relay(stream, sock)).add_done_callback(lambda _: self.ended())
        else:
            self.relays.join(stream, sock, self.ended)


@dataclass(slots=True)
class _Undecided:
    """A connect of the program on which the pod has not decided yet."""

    request: Connect
    stream: Stream
    program: socket.socket
    held: HeldPort
    home: Outgoing

    def decided(self) -> None:
        """Let the program's connect end as the pod's did."""
        if self.home.is_closed:
            # Nobody waits for it any more.
            self.program.close()
            self._give_up()
            return
        code = 0
        try:
            local = agent.decode_answer(agent.Connected, self.stream.answer()).local
            ip = Addr.of(local.ip.partition("%")[0], local.port, self.request.to.family)
            self.home.table.set_local(self.request.cookie, ip)
        except StreamRefused as refused:
            # That of a cut network when the link is lost.
            code = agent.errno_of(refused.payload, errno.ENETUNREACH)
        except (agent.PeerProtocolError, ValueError):
            code = errno.ENETUNREACH
        if (address := _connecting(self.program)) is not None:
            self._end(address, code)
        else:
            self.home.tasks.spawn(self._end_when_connecting(code))

    async def _end_when_connecting(self, code: int) -> None:
        """As `_end`, once the program connects, which it does as soon as it has our answer."""
        address = None
        try:
            address = await _until_connecting(self.program)
        finally:
            self._end(address, code)

    def _end(self, address: tuple[str, int] | None, code: int) -> None:
        """End the connect of the program's socket at `address`; None: it never connected."""
        with self.program:
            if not code and address is not None:
                try:
                    self._join(self.held.join(address), address)
                    return
                except OSError as error:
                    code = error.errno or errno.ECONNABORTED
            if code:
                self.home.table.set_errno(self.request.cookie, code)
            if address is not None:
                with contextlib.suppress(OSError):
                    self.program.shutdown(socket.SHUT_RDWR)
        self._give_up()

    def _join(self, sock: socket.socket, address: tuple[str, int]) -> None:
        if is_established(sock):
            self.home.join(self.request, self.stream, sock)
        else:
            self.home.tasks.spawn(self._join_when_established(sock, address))

    async def _join_when_established(self, sock: socket.socket, address: tuple[str, int]) -> None:
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except BaseException as error:
            sock.close()
            self._give_up()
            if not isinstance(error, OSError):
                raise
        else:
            self.home.join(self.request, self.stream, sock)

    def _give_up(self) -> None:
        self.stream.refuse()
        self.home.ended()


def _connecting(program: socket.socket) -> tuple[str, int] | None:
    """Return the loopback address of a socket in SYN_SENT; None when it is not there yet."""
    try:
        return plain(program.getsockname()) if tcp_state(program) == SYN_SENT else None
    except OSError:
        return None


async def _until_connecting(program: socket.socket) -> tuple[str, int] | None:
    """Return the loopback address of a socket once it is in SYN_SENT; None when it never is."""
    loop = asyncio.get_running_loop()
    end = loop.time() + PROGRAM_CONNECTS_WITHIN_S
    pause = 0.0
    while loop.time() < end:
        if (address := _connecting(program)) is not None:
            return address
        await asyncio.sleep(pause)
        pause = min(pause + 0.0001, LOOK_EVERY_S)
    return None


def close_fd(fd: int) -> None:
    """Close a descriptor that came with a request that has no use for it."""
    if fd >= 0:
        os.close(fd)
