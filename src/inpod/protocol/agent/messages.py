"""What session and agent say to each other: one stream of the tunnel for each question or connection.

A stream begins with an OPEN frame whose payload is a request of this file, as JSON. The far end answers with ACCEPT
(a JSON payload, then data may flow both ways) or RESET (a `Refusal`). A question whose answer may be large gets it as
the stream's data, ended by EOF.

    session -> agent    Hello, ReadEnv, Resolve, FindName, Question, Connect, ConnectUdp, ConnectUnix, LookUp, ReadFile,
                        WatchFiles, Subscribe, Knock, Finish
    agent -> session    Incoming

Session and agent are of one version (the code travels, see targets/kube), so nothing here needs to be compatible.
They are named tuples: a start waits for each class to be made, and a dataclass takes six times as long.
Text in JSON may carry bytes that are not UTF-8, as lone surrogates (`surrogateescape`).
"""

import errno
from collections.abc import Sequence
from typing import Literal, NamedTuple

PROTOCOL_VERSION = 1

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What begins a connection of HTTP/2 with prior knowledge (RFC 9113 section 3.4)."""

Mode = Literal["mirror", "steal"]
IpProtocol = Literal["tcp", "udp"]
Redirect = Literal["auto", "sk_lookup", "nftables"]
Want = Literal["lstat", "stat", "read", "list"]


class Address(NamedTuple):
    """An IP address in text form ("10.1.2.3", "fe80::1") and a port."""

    ip: str
    port: int


class Hello(NamedTuple):
    """First request of a session. Answer: `Welcome` as ACCEPT.

    Attributes:
        wants: What the session will do with incoming traffic; what it will not is not tried.
        redirect: How the session's ports are to be stolen; "auto": as is possible.
        addresses: The target's own IP addresses, where others share its network; empty: all there are.
    """

    version: int
    wants: Sequence[Mode] = ("mirror", "steal")
    redirect: Redirect = "auto"
    addresses: Sequence[str] = ()


class Welcome(NamedTuple):
    """What the agent found.

    Attributes:
        hostname: The target's.
        cannot: Why an ability is missing: keys out of "mirror", "steal", "files", "env"; absent means it is there.
        addresses: The target's own IP addresses, loopback left out.
        search: The domains of its resolv.conf.
    """

    hostname: str
    cannot: dict[str, str]
    addresses: Sequence[str] = ()
    search: Sequence[str] = ()


class ReadEnv(NamedTuple):
    """The target's environment. Answer: a JSON object of names and values, as data."""


class Resolve(NamedTuple):
    """A name as the target resolves it. Answer: `Resolved` as ACCEPT.

    Attributes:
        family: 0 for both, or socket.AF_INET, socket.AF_INET6.
    """

    name: str
    family: int = 0


class FindName(NamedTuple):
    """The name of an IP address in text form. Answer: `Resolved` as ACCEPT, with `canonical` and no addresses."""

    ip: str


class Question(NamedTuple):
    """What the target's name servers answer to a query. Answer: the message of DNS, as data; or RESET with errno.

    Attributes:
        message: The query, each byte a character.
        searches: Its name is looked for as the target's search list says.
    """

    message: str
    searches: bool = False


class Resolved(NamedTuple):
    """Attributes:
    addresses: IP addresses in text form, IPv4 and IPv6, in the order to try: those with a route first.
    failure: "" or "noname" (the name is not there), "nodata" (no address of that family), "again" (servers silent).
    canonical: The canonical name; "" when unknown.
    ttl: Seconds for which the answer holds, as the servers say.
    """

    addresses: Sequence[str] = ()
    failure: str = ""
    canonical: str = ""
    ttl: int = 0


class Connect(NamedTuple):
    """A TCP connection from the target's network. Answer: `Connected` as ACCEPT, then its bytes; or RESET with errno."""

    to: Address


class Connected(NamedTuple):
    """Attributes:
    local: The pod-side address of the connection (getsockname).
    """

    local: Address


class ConnectUdp(NamedTuple):
    """A UDP socket in the target's network, connected to an address.

    Answer: an empty ACCEPT, then datagrams both ways (protocol/datagrams.py); or RESET with errno, also later on, when
    the kernel learnt that they do not arrive. EOF of either end means that it has no more use for the socket.
    """

    to: Address


class LookUp(NamedTuple):
    """What is at a path of the target. Answer: data, blocks of entries (protocol/listing.py).

    The first block names every symbolic link and directory met on the way, then the path itself, for "read" of a small
    file with its content. For "list" more blocks follow: the directory's members with the contents of small files. A missing
    path is an entry with `errno`. Paths are resolved inside the target's root (openat2 RESOLVE_IN_ROOT).

    Attributes:
        path: Absolute, lexically normalised.
        want: "lstat" does not follow a last link.
    """

    path: str
    want: Want


class ReadFile(NamedTuple):
    """The whole content of a regular file, links followed. Answer: data; or RESET with errno."""

    path: str


class WatchFiles(NamedTuple):
    """What changes in the folders that are asked about while this stream lives.

    Answer: an empty ACCEPT, then data: answers as to `LookUp`, one after the other, of what is at a path now.
    """


class Subscribe(NamedTuple):
    """The target's incoming TCP connections to a port, or UDP datagrams.

    Answer: an empty ACCEPT once they come, or RESET. The subscription lives as long as this stream; the agent sends
    `PortReport`s as data, one JSON line each. RESET later on means that another session took the port.

    Attributes:
        filter: Which HTTP requests the session wants (agent/incoming/http/rules.py); None: all, and what is no HTTP.
        has_probes: The kubelet asks for the container's health on this port by HTTP or gRPC: the original answers that.
        flush: Reset connections that the original has on this port, so that their clients come again (steal).
        on_conflict: What to do when another session has the port: be refused, or take it from that one.
        who: The session's user and machine, for others who want the same port.
    """

    port: int
    mode: Mode
    filter: dict[str, object] | None = None
    has_probes: bool = False
    flush: bool = False
    on_conflict: Literal["refuse", "override"] = "refuse"
    who: str = ""
    protocol: IpProtocol = "tcp"


class PortReport(NamedTuple):
    """What became of a port's traffic since the last line.

    Attributes:
        dropped: Packets that the kernel or the agent had to drop.
        seen: Requests read, on a port with a filter; of mirrored HTTP/2 also without.
        matched: Of these, how many the session got.
        passed: And how many the original.
        whole: Connections that were passed to the original without a look at their requests.
        moved: Connections of the original that were reset, so that their clients come again.
        stayed: Connections that existed before and stay the original's.
        trouble: What does not work, in words; "" for nothing.
        hint: What may not be as the user thinks, in words; "" for nothing.
        why: Why the last one that was passed did not come to the session; "" when none was.
    """

    dropped: int = 0
    seen: int = 0
    matched: int = 0
    passed: int = 0
    whole: int = 0
    moved: int = 0
    stayed: int = 0
    why: str = ""
    trouble: str = ""
    hint: str = ""


class Knock(NamedTuple):
    """Whether a TCP connection to `to` arrives at a port of the target. Answer: `Knocked` as ACCEPT, seconds later.

    No program notices. Refused when nobody can know.

    Attributes:
        to: What others call: the address of a Service, which is translated on the way.
    """

    to: Address
    port: int


class Knocked(NamedTuple):
    """What became of a `Knock`."""

    arrived: bool


class Incoming(NamedTuple):
    """A connection of a subscription, opened by the agent; or the datagrams of one peer, as data (protocol/datagrams.py).

    The session answers ACCEPT when the program took it, RESET when it did not. In mirror mode the program's answers are not
    sent, for they go to nobody, but for those of a connection whose first DATA begins with `PREFACE`: in HTTP/2 they say how
    much the program takes. EOF of either end means that it has no more use for the datagrams' stream.

    Attributes:
        port: The subscription's.
        peer: The real client.
        local: What the client called (the pod's side).
    """

    port: int
    mode: Mode
    peer: Address
    local: Address
    protocol: IpProtocol = "tcp"


class Refusal(NamedTuple):
    """Payload of RESET.

    Attributes:
        code: An errno of the agent's kernel (Linux numbers), 0 for none.
        reason: For people; "" when the errno says it all.
    """

    code: int = errno.ECONNRESET
    reason: str = ""


class ConnectUnix(NamedTuple):
    """A connection to a unix socket of the target's files. Answer: ACCEPT, then its bytes; or RESET with errno.

    Attributes:
        keeps_messages: It is one of SOCK_SEQPACKET; its bytes are messages (protocol/datagrams.py).
    """

    path: str
    keeps_messages: bool = False


class Finish(NamedTuple):
    """The program has ended, and the session will not come back.

    Answer: an empty ACCEPT; a byte now and then as data, while what the program said is on its way to the far ends of its
    connections; EOF once they have it, or RESET with ETIMEDOUT when one of them takes nothing for long.
    """


Request = (
    Hello
    | ReadEnv
    | Resolve
    | FindName
    | Question
    | Connect
    | ConnectUdp
    | ConnectUnix
    | LookUp
    | ReadFile
    | WatchFiles
    | Subscribe
    | Knock
    | Incoming
    | Finish
)
Answer = Welcome | Resolved | Connected | PortReport | Knocked | Refusal
