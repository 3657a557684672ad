"""A session for tests of the layer: answers as the real one does, out of a `Pod`, and remembers what it was asked.

Table, replica and messages are the real ones. Connections end truthfully as in session/outgoing/connections.py, with a thread for
each, and lead to servers of the test on 127.0.0.1.
"""

import contextlib
import errno
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from inpod.dns.messages import decode_head
from inpod.protocol.layer import (
    MAX_DATAGRAM,
    Addr,
    Answered,
    Bind,
    Connect,
    File,
    Listen,
    Name,
    Question,
    Redirect,
    Request,
    Resolve,
    Resolved,
    Trace,
    Unix,
    Warn,
    decode_request,
    encode_reply,
)
from inpod.session.files.replica import Replica
from inpod.session.table import Table
from inpod.tunnel.tcp_state import SYN_SENT, tcp_state
from tests.fakes.pod import Pod
from tests.processes import next_line

DEADLINE_S = 20
EAI_NONAME = -2
TXT = 16
NAME_ERROR = 3
POD_ADDRESS = "10.1.2.3"

R = TypeVar("R")


@dataclass
class FakeSession:
    """Lives as long as `running` does.

    Attributes:
        folder: As INPOD_SESSION names it.
        pod: What the program sees; may change while it runs.
        gate: Connects wait for it before they are decided.
    """

    folder: Path
    pod: Pod
    gate: threading.Event = field(default_factory=threading.Event)
    requests: list[Request] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _listeners: dict[int, Listen] = field(default_factory=dict)
    _pod_lock: threading.Lock = field(default_factory=threading.Lock)

    @staticmethod
    @contextlib.contextmanager
    def running(folder: Path, pod: Pod, rules: str) -> Iterator["FakeSession"]:
        """Serve `folder`, which must not exist. `rules` are the lines behind the first."""
        folder.mkdir(0o700)
        (folder / "replica").mkdir()
        (folder / "rules").write_text("inpod-rules 1\n" + rules)
        session = FakeSession(folder, pod)
        session.gate.set()
        session.table = Table(folder / "table")
        session.replica = Replica(folder / "replica")
        session.held = _HeldPort(socket.AF_INET, "127.0.0.1")
        session.held6 = _HeldPort(socket.AF_INET6, "::1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
            door.bind(str(folder / "layer.sock"))
            door.listen(512)
            session._door = door
            session._start(session._accept)
            try:
                yield session
            finally:
                session.gate.set()
                session.die()
                for thread in session._threads:
                    thread.join(DEADLINE_S)
                session.held.close()
                session.held6.close()
                for served in session._served:
                    served.communicate(timeout=DEADLINE_S)
                session.replica.close()

    def add_rule(self, line: str) -> None:
        """Add a line to the rules, for programs that start from now on."""
        with (self.folder / "rules").open("a") as rules:
            rules.write(f"{line}\n")

    def __post_init__(self) -> None:
        self.table: Table
        self.replica: Replica
        self.held: _HeldPort
        self.held6: _HeldPort
        self._door: socket.socket
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._served: list[subprocess.Popen[str]] = []
        self.tracer: Path

    def die(self) -> None:
        """Stop answering, as a session that is gone."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def asked(self, kind: type[R]) -> list[R]:
        """Return the requests of a kind, oldest first."""
        with self._changed:
            return [request for request in self.requests if isinstance(request, kind)]

    def wait_for(self, kind: type[R], count: int = 1) -> list[R]:
        """Return the requests of a kind once there are `count`."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked_now(kind)) >= count, DEADLINE_S), self.requests
            return self.asked_now(kind)

    def asked_now(self, kind: type[R]) -> list[R]:
        """As `asked`, with the lock held."""
        return [request for request in self.requests if isinstance(request, kind)]

    def call(self, port: int, *, peer: Addr, local: Addr | None = None) -> socket.socket:
        """Connect to the program's listener of `port`, as the pod's client `peer`."""
        (listen,) = [found for found in self.wait_for(Listen) if found.wanted.port == port]
        real = listen.real
        sock = socket.socket(socket.AF_INET6 if ":" in real.host else socket.AF_INET)
        sock.settimeout(DEADLINE_S)
        sock.bind((real.host, 0))
        family = real.family
        local = local or Addr.of(POD_ADDRESS, port, family)
        self.table.set_port(sock.getsockname()[1], peer=Addr(family, peer.port, peer.ip), local=local)
        sock.connect((real.host, real.port))
        return sock

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._door.accept()
            except OSError:
                return
            self._connections.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        peer, _, _ = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        with connection:
            while True:
                try:
                    data, fds, _, _ = socket.recv_fds(connection, MAX_DATAGRAM, 1)
                except OSError:
                    return
                if not data:
                    self._connections.discard(connection)
                    return
                request = decode_request(data)
                if isinstance(request, Trace):
                    request = request._replace(process=peer)
                reply = self._answer(request, fds[0] if fds else -1)
                with self._changed:
                    self.requests.append(request)
                    self._changed.notify_all()
                with contextlib.suppress(OSError):
                    connection.send(reply)

    def _answer(self, request: Request, fd: int) -> bytes:
        match request:
            case Connect():
                return self._connect(request, fd)
            case Bind(wanted):
                return encode_reply(errno.EADDRINUSE if wanted.port in self._listeners else 0)
            case Listen():
                self._listeners[request.wanted.port] = request
                return encode_reply(0)
            case Resolve(family, name):
                return self._resolve(family, name)
            case Unix():
                return encode_reply(-1)
            case Question(_, message):
                return self._answer_question(message)
            case Name(ip):
                return self._find_name(ip)
            case File(want, path):
                with self._pod_lock:
                    entries = self.pod.look_up(os.fsdecode(path), want)
                    self.replica.put(entries)
                missing = [entry.errno for entry, _ in entries if entry.kind == "missing"]
                return encode_reply(missing[0] if missing else 0)
            case Warn():
                return encode_reply(0)
            case Trace(listener=listener, process=process):
                return encode_reply(self._trace(process, listener) if listener >= 0 else 0)

    def _trace(self, process: int, listener: int) -> int:
        words = [str(self.tracer), str(self.folder), str(process), str(listener)]
        served = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.tracer", *words], stdout=subprocess.PIPE, text=True
        )
        self._served.append(served)
        return int(next_line(served.stdout))

    def _resolve(self, family: int, name: str) -> bytes:
        found = self.pod.names.get(name, EAI_NONAME)
        if isinstance(found, int):
            return encode_reply(found)
        ips = [Addr.of(text, 0) for text in found]
        chosen = tuple(addr.ip for addr in ips if family in (0, addr.family))
        return encode_reply(0, Resolved(chosen, f"{name}.svc")) if chosen else encode_reply(-5)

    def _answer_question(self, message: bytes) -> bytes:
        head = decode_head(message)
        found = self.pod.texts.get(b".".join(head.name).decode(), NAME_ERROR)
        if isinstance(found, OSError):
            return encode_reply(found.errno or errno.EIO)
        code, texts = (found, []) if isinstance(found, int) else (0, found)
        records = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", TXT, 1, 5, len(text) + 1) + bytes([len(text)]) + text for text in texts
        )
        top = message[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(texts), 0, 0)
        return encode_reply(0, Answered(top + message[12 : head.end + 4] + records))

    def _find_name(self, ip: bytes) -> bytes:
        for name, found in self.pod.names.items():
            if not isinstance(found, int) and ip in [Addr.of(text, 0).ip for text in found]:
                return encode_reply(0, Resolved((), f"{name}.svc"))
        return encode_reply(self.pod.unnamed)

    def _connect(self, request: Connect, fd: int) -> bytes:
        program = socket.socket(fileno=fd)
        to = request.to
        own = self._listeners.get(to.port)
        if own is not None and (to.host.startswith("127.") or to.host in ("::1", POD_ADDRESS)):
            program.close()
            return encode_reply(0, Redirect(Addr(to.family, own.real.port, own.real.ip)))
        is_v6_only = program.family == socket.AF_INET6 and program.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        held = self.held6 if is_v6_only else self.held
        self._start(self._decide, request, program, held)
        return encode_reply(0, Redirect(Addr.of(held.host, held.port, to.family)))

    def _decide(self, request: Connect, program: socket.socket, held: "_HeldPort") -> None:
        to = request.to
        with program:
            if not _until(lambda: tcp_state(program) == SYN_SENT):
                return
            self.gate.wait(DEADLINE_S)
            found = self.pod.services.get((to.host, to.port), OSError(errno.ECONNREFUSED, ""))
            if isinstance(found, OSError):
                self.table.set_errno(request.cookie, found.errno or errno.EIO)
                with contextlib.suppress(OSError):
                    program.shutdown(socket.SHUT_RDWR)
                return
            self.table.set_local(request.cookie, Addr.of(POD_ADDRESS, 40000, to.family))
            host, port = program.getsockname()[:2]
            try:
                near = held.join((host.removeprefix("::ffff:"), port))
            except OSError:  # the program is gone
                return
        with near, socket.create_connection(("127.0.0.1", found)) as far:
            _relay(near, far)


class _HeldPort:
    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        self.host = host
        self._family = family
        self._listener = self._reusable()
        self._listener.bind((host, 0))
        self._listener.listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._filler = socket.socket(family)
        self._filler.connect((host, self.port))

    def _reusable(self) -> socket.socket:
        sock = socket.socket(self._family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return sock

    def join(self, address: tuple[str, int]) -> socket.socket:
        sock = self._reusable()
        try:
            sock.bind((self.host, self.port))
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        return sock

    def close(self) -> None:
        self._listener.close()
        self._filler.close()


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until both ends are done."""
    peer = {one: other, other: one}
    while peer:
        for sock in select.select(list(peer), [], [], DEADLINE_S)[0]:
            to = peer[sock]
            try:
                data = sock.recv(65536)
                to.sendall(data)
            except OSError:
                return
            if not data:
                with contextlib.suppress(OSError):
                    to.shutdown(socket.SHUT_WR)
                del peer[sock]


def _until(is_so: Callable[[], bool]) -> bool:
    """Wait for what has no event; false after the deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.0005)
    return False
