"""What happens in a session, for those who show it: the terminal, JSON lines, tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

COUNTED = ("seen", "matched", "passed", "whole", "dropped", "moved", "stayed")
"""What a `PortTraffic` counts; a `PortReport` of the agent does so under the same names."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the start began; the one before is done."""

    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The program starts.

    Attributes:
        target: What it stands in, for people.
        incoming: "mirror", "steal" or "off".
        files: "read" or "local".
    """

    target: str
    incoming: str
    files: str


@dataclass(frozen=True, slots=True)
class PortSubscribed:
    """The pod's traffic to a port comes to the program.

    Attributes:
        port: Of the pod, and as the program sees it.
        local: Where the program really listens, "127.0.0.1:3000".
        protocol: "tcp" or "udp".
    """

    port: int
    mode: str
    local: str
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class PortDelivered:
    """What came to the program's listeners lately.

    Attributes:
        port: Of the pod.
        connections: Connections, copies of them in mirror mode; of UDP, peers.
        refused: Of these, how many the program did not take.
        why: Why it did not take the last of them.
        protocol: "tcp" or "udp".
    """

    port: int
    connections: int
    refused: int
    why: str
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class PortTraffic:
    """What became of a pod's port lately, where requests are told apart or something was lost.

    Attributes:
        port: Of the pod.
        seen, matched, passed: Requests read; those that came to the program; those that the original got.
        whole: Connections that the original got unread.
        dropped: Packets that are missing in the copy.
        moved: Connections of the original that were reset, so that their clients come again.
        stayed: Connections that existed before and stay the original's; copied from their next HTTP/1 request on.
        why: Why the last request that passed did not come to the program.
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


@dataclass(frozen=True, slots=True)
class PortServices:
    """Which services lead to a pod's port, and which do not though they might be thought to.

    Attributes:
        port: Of the pod.
        services: A line for each.
        protocol: "tcp" or "udp".
    """

    port: int
    services: tuple[str, ...]
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Note:
    """Something the user should know.

    Attributes:
        port: The pod's port that it is about; None: about none.
        protocol: Of that port.
    """

    text: str
    level: Literal["info", "warning"] = "warning"
    port: int | None = None
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class AgentLost:
    """The link to the agent broke; it is being made again."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The link to the agent is there again."""


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
