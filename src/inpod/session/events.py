"""What happens in a session, for those who show it: the terminal, JSON lines, tests. Source of docs/reference/events.md."""

from collections.abc import Callable
from typing import Literal, NamedTuple

COUNTED = ("seen", "matched", "passed", "whole", "dropped", "moved", "stayed")
"""What a `PortTraffic` counts; a `PortReport` of the agent does so under the same names."""


class Step(NamedTuple):
    """A step of the start began; the one before is done.

    Comes before `Summary`, a few times.

    Attributes:
        text: What is done, for people: "Talking to the agent".
    """

    text: str


class Summary(NamedTuple):
    """All is ready, and the program starts.

    Comes once. A start that fails has none.

    Attributes:
        target: What the program stands in, for people: "pod api-7d9f8, container web".
        incoming: What comes of the target's traffic: "mirror", "steal" or "off".
        files: Whose files the program has: "read" (the target's, to read), "local" (this machine's) or "localwithoverrides"
            (this machine's but for the target's mounts and what is asked for).
    """

    target: str
    incoming: str
    files: str


class PortSubscribed(NamedTuple):
    """The pod's traffic to a port comes to the program, which listens there.

    Comes once for each port; of UDP when the program has had it for a quarter of a second, as others are bound for one question.

    Attributes:
        port: Of the pod.
        mode: "mirror" or "steal".
        local: Where the program really listens on this machine: "127.0.0.1:3000".
        protocol: "tcp" or "udp".
    """

    port: int
    mode: str
    local: str
    protocol: str = "tcp"


class PortDelivered(NamedTuple):
    """What came to the program's listeners since the last such event of the port.

    Comes where something came, a second later.

    Attributes:
        port: Of the pod.
        connections: Connections, copies of them in mirror mode; of UDP, peers.
        refused: Of these, how many the program did not take.
        why: Why it did not take the last of them; "" if it took all.
        protocol: "tcp" or "udp".
    """

    port: int
    connections: int
    refused: int
    why: str
    protocol: str = "tcp"


class PortTraffic(NamedTuple):
    """What became of a port's traffic since the last such event of the port.

    Comes where requests are read, for a filter or as mirrored HTTP/2, or something is missing; once a second at most.

    Attributes:
        port: Of the pod.
        seen: Requests read.
        matched: Of these, those that came to the program.
        passed: Of these, those that the original alone got.
        whole: Connections that the original got unread.
        dropped: Packets that are missing in the copy; of UDP, datagrams.
        moved: Connections of the original that were reset, so that their clients come again.
        stayed: Connections that existed before and stay the original's; copied from their next HTTP/1 request on.
        why: Why the last request that passed did not come to the program; "" if none passed.
        protocol: "tcp" or "udp".
    """

    port: int
    seen: int
    matched: int
    passed: int
    whole: int
    dropped: int
    moved: int
    stayed: int
    why: str
    protocol: str = "tcp"


class PortServices(NamedTuple):
    """Which services lead to a port, and which do not though they might be thought to.

    Comes for each port of a target in a cluster, after `PortSubscribed`; again when `inpod status` asks, where it is another.

    Attributes:
        port: Of the pod.
        services: A line for each, for people.
        protocol: "tcp" or "udp".
    """

    port: int
    services: tuple[str, ...]
    protocol: str = "tcp"


class Note(NamedTuple):
    """Something the user should know.

    Comes at any time.

    Attributes:
        text: For people.
        level: "warning": something is not as asked; "info": it is good to know.
        port: The pod's port that it is about, if any.
        protocol: Of that port: "tcp" or "udp".
    """

    text: str
    level: Literal["info", "warning"] = "warning"
    port: int | None = None
    protocol: str = "tcp"


class AgentLost(NamedTuple):
    """The link to the agent broke.

    Comes before `Reconnected`, or before the session's end where the link cannot be made again.
    """


class Reconnected(NamedTuple):
    """The link to the agent is there again, and the ports are had again.

    Comes after `AgentLost`.
    """


Event = Step | Summary | PortSubscribed | PortDelivered | PortTraffic | PortServices | Note | AgentLost | Reconnected


class Events:
    """Passes each event to all listeners, in order."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Add a listener. It must not raise."""
        self._listeners.append(listener)

    def emit(self, event: Event) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener(event)
