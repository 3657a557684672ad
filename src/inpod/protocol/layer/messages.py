"""What the layer asks the session: one datagram each way on a unix SOCK_SEQPACKET connection. No I/O here.

The twin of native/wire; contracts/layer-messages.json holds examples that both sides test. Layer and session ship
together, so this may change freely. Integers are little-endian.

    request   u16 kind, then the fields of its class in order
    reply     i32 errno (0: fine), then the fields of its class
    address   u8 family (4 or 6), u8 zero, u16 port, 16 bytes ip (IPv4 in the last four of ::ffff:a.b.c.d)
    text      u32 length, bytes

Socket facts do not travel in these messages but lie in the table (`session/table.py`, native/rules `table`): a shared
file of the session that both read and write.
"""

import ipaddress
import mmap
from enum import IntEnum
from typing import NamedTuple

MAX_DATAGRAM = 64 * 1024

_MAPPED = b"\0" * 10 + b"\xff\xff"

Buffer = bytes | memoryview | mmap.mmap


class LayerProtocolError(Exception):
    """A datagram that is no message of this file."""


class Kind(IntEnum):
    """First field of a request."""

    CONNECT = 1
    BIND = 2
    LISTEN = 3
    RESOLVE = 4
    FILE = 5
    WARN = 6
    TRACE = 7
    NAME = 8
    UNIX = 9
    QUESTION = 10


class Want(IntEnum):
    """What a FILE request needs to be in the replica."""

    LSTAT = 1
    STAT = 2
    READ = 3
    LIST = 4
    EXECUTE = 5
    """As READ, of a program that is to be executed."""


class Addr(NamedTuple):
    """Attributes:
    ip: 16 bytes; IPv4 as ::ffff:a.b.c.d.
    family: 4 or 6, of the socket: a v6 socket may have a mapped address.
    """

    family: int
    port: int
    ip: bytes

    def __str__(self) -> str:
        """Return "10.1.2.3:80" or "[::1]:80"."""
        text = self.host
        return f"[{text}]:{self.port}" if ":" in text else f"{text}:{self.port}"

    @property
    def host(self) -> str:
        """The address without port, a mapped IPv4 address as IPv4."""
        if self.ip.startswith(_MAPPED):
            return ".".join(map(str, self.ip[12:]))
        return str(ipaddress.IPv6Address(self.ip))

    @staticmethod
    def of(host: str, port: int, family: int | None = None) -> "Addr":
        """Return the address of a text form; `family` defaults to that of the text."""
        if ":" in host:
            return Addr(family or 6, port, ipaddress.IPv6Address(host).packed)
        # `ipaddress` takes ten times as long, on the path of every connect.
        raw = bytes(map(int, host.split(".")))
        if len(raw) != 4:
            raise ValueError(f"'{host}' is no IP address")
        return Addr(family or 4, port, _MAPPED + raw)


class Connect(NamedTuple):
    """A socket is about to connect; the socket itself comes along (SCM_RIGHTS).

    The layer has put (cookie, peer) into the table. Reply `Redirect`: the layer connects the program's socket to
    `to` with libc's own call, which ends as the far side decides (docs/how-it-works/outgoing.md).

    Attributes:
        cookie: SO_COOKIE of the socket.
        to: Where the program wants to go.
        is_undecided: Whether it leaves from the pod depends on what a name of the filter stands for.
        is_send: It is about to send a datagram to `to`, and stays unconnected: the layer sends to `Redirect.to`.
    """

    cookie: int
    to: Addr
    is_undecided: bool = False
    is_send: bool = False


class Redirect(NamedTuple):
    """Reply to CONNECT. Attributes:
    to: A loopback address; port 0 means: connect as if the layer were not there.
    """

    to: Addr


NOWHERE_ELSE = Redirect(Addr.of("127.0.0.1", 0))
"""Lets a call be."""


class Bind(NamedTuple):
    """The address is taken on this machine (EADDRINUSE or EACCES of the real bind to loopback).

    Reply: errno EADDRINUSE when a listener of this session has the port already, else 0: take any port.
    """

    wanted: Addr
    reuse_port: bool
    is_udp: bool = False


class Listen(NamedTuple):
    """A socket listens, or a UDP socket is bound. Reply: errno only, 0 once the traffic comes or when it is local.

    Attributes:
        wanted: What the program asked for.
        real: Where it really listens (loopback).
        is_local: Bound to port 0 or a debugger's port: not subscribed, but connecting to it stays here.
    """

    wanted: Addr
    real: Addr
    is_local: bool
    is_udp: bool = False


class Resolve(NamedTuple):
    """Attributes:
    family: 0 both, 4 or 6.
    """

    family: int
    name: str


class Name(NamedTuple):
    """The name of an address. Reply: `Resolved`, without addresses.

    Attributes:
        ip: 16 bytes, as in `Addr`.
    """

    ip: bytes


class Unix(NamedTuple):
    """A unix socket of streams or messages is about to connect; the socket itself comes along (SCM_RIGHTS).

    Reply: errno, 0 once it is connected, -1: connect as if the layer were not there.

    Attributes:
        path: Absolute, as the program gave it.
    """

    path: bytes


class Question(NamedTuple):
    """What the target's name servers answer. Reply: errno; where it is 0, the `Answered` message follows.

    Attributes:
        searches: The name is looked for as the target's search list says.
        message: A query of DNS.
    """

    searches: bool
    message: bytes


class Answered(NamedTuple):
    """Reply to QUESTION: a message of DNS, up to the end of the datagram."""

    message: bytes


class Resolved(NamedTuple):
    """Reply to RESOLVE and NAME. Its errno field carries the EAI_* number of glibc (negative) instead.

    Attributes:
        addresses: Of 16 bytes each.
        canonical: "" when unknown.
    """

    addresses: tuple[bytes, ...]
    canonical: str


class File(NamedTuple):
    """Make a pod path available in the replica. Reply: errno only (ENOENT: the pod has no such path).

    Attributes:
        path: Absolute, lexically normalised pod path, as bytes.
    """

    want: Want
    path: bytes


class Warn(NamedTuple):
    """A program runs outside the pod, or without rights. Reply: errno 0.

    Attributes:
        why: "static", "go", "bun", "musl", "32-bit", "set-id": the layer cannot reach it, and it is started with a clean
            environment. "closed": the tracer may not look into it. "no-new-rights": traced, a set-id program gains none.
            "unreadable": nobody can say which it is; it is started with the layer, which a static one ignores.
        path: Of the program; of a closed one what it was called as.
    """

    why: str
    path: bytes


class Trace(NamedTuple):
    """The asking process has put a filter over itself and is about to become a program.

    Reply: errno 0: go on, traced or, without a listener, outside the pod; else end.

    Attributes:
        listener: Number of the filter's listener in that process; -1: the kernel refused.
        errno: Why it did.
        path: Of the program.
        process: Not sent: who the kernel says has asked (SO_PEERCRED).
    """

    listener: int
    errno: int
    path: bytes
    process: int = 0


Request = Connect | Bind | Listen | Resolve | File | Warn | Trace | Name | Unix | Question
