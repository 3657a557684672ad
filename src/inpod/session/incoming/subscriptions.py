"""The session's subscriptions to ports of the pod: what is asked for, and what the agent tells of them."""

import asyncio
import errno
import getpass
import socket
from collections.abc import Callable
from typing import Literal, NamedTuple

from inpod.errors import printable
from inpod.protocol import agent
from inpod.session.events import COUNTED, Events, Note, PortTraffic
from inpod.session.incoming.deliveries import Deliveries
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

AGAIN_EVERY_S = 0.05
AGAIN_TIMES = 20
"""The agent may still be at ending the subscription that we gave up a moment ago."""

Answer = tuple[int, str]
"""errno of a subscription, 0: it is there; and the reason in words."""

OnConflict = Literal["refuse", "override"]


class Wishes(NamedTuple):
    """What a session wants of every port that its program listens on.

    Attributes:
        filter: As in `Subscribe`.
        filtered_ports: Ports of the pod that the filter is for; None: all.
        probe_ports: Ports of the pod that the kubelet asks by HTTP, whose requests stay the original's.
        flush: Connections that the original has on a stolen port are reset, so that their clients come again.
        goes_on: A port that another session has is done without.
        protocol: Of the ports.
    """

    mode: agent.Mode
    filter: dict[str, object] | None = None
    filtered_ports: frozenset[int] | None = None
    probe_ports: frozenset[int] = frozenset()
    flush: bool = True
    on_conflict: OnConflict = "refuse"
    goes_on: bool = False
    protocol: agent.IpProtocol = "tcp"

    def of_datagrams(self) -> "Wishes":
        """Return the same for UDP, where there are no requests and no connections."""
        return self._replace(protocol="udp", filter=None, probe_ports=frozenset(), flush=False)

    def request(self, port: int) -> agent.Subscribe:
        """Return the request for a port of the pod."""
        is_filtered = self.filtered_ports is None or port in self.filtered_ports
        return agent.Subscribe(
            port,
            self.mode,
            filter=self.filter if is_filtered else None,
            has_probes=port in self.probe_ports,
            flush=self.flush and self.mode == "steal",
            on_conflict=self.on_conflict,
            who=who_we_are(),
            protocol=self.protocol,
        )


class Subscriptions:
    """Opens subscriptions, and tells what becomes of their traffic.

    Attributes:
        goes_on: A port that another session has is done without.
        protocol: Of the ports.
        deliveries: Count what comes to the program.
    """

    def __init__(self, tunnel: Callable[[], Tunnel], wishes: Wishes, events: Events) -> None:
        self._tunnel = tunnel
        self.goes_on = wishes.goes_on
        self.protocol = wishes.protocol
        self._wishes = wishes
        self._events = events
        self._explained: set[int] = set()
        self.deliveries = Deliveries(events, wishes.protocol)

    async def open(self, number: int, *, is_again: bool) -> tuple[Answer, Stream | None]:
        """Subscribe a port; no stream without an error means that the link is lost.

        Args:
            is_again: We had it before, and gave it up perhaps a moment ago.
        """
        for attempt in range(AGAIN_TIMES):
            stream = self._tunnel().open(agent.encode(self._wishes.request(number)))
            try:
                await stream.accepted()
            except StreamRefused as refused:
                answer = _answer_of(refused)
                if answer[0] != errno.EADDRINUSE or not is_again or attempt + 1 == AGAIN_TIMES:
                    return answer, None
                await asyncio.sleep(AGAIN_EVERY_S)
            else:
                return (0, ""), stream
        raise AssertionError("the last attempt returns")

    async def follow(self, stream: Stream, number: int) -> str:
        """Tell what the agent tells, until the subscription ends; return why it ended, "" when we or the link did it."""
        rest = b""
        try:
            while data := await stream.read():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._tell(number, agent.decode_answer(agent.PortReport, line))
        except agent.PeerProtocolError:
            pass
        except StreamRefused as refused:
            return _answer_of(refused)[1]
        return ""

    def _tell(self, number: int, report: agent.PortReport) -> None:
        counts = {name: getattr(report, name) for name in COUNTED}
        # They repeat what callers said.
        why, trouble, hint = (printable(text) for text in (report.why, report.trouble, report.hint))
        self._events.emit(PortTraffic(number, **counts, why=why, protocol=self.protocol))
        if report.dropped:
            self.note(number, f"Packets of port {number} came too fast to be mirrored: {report.dropped} missing.")
        if trouble:
            self.note(number, f"Port {number}: {trouble}.")
        if hint:
            self.note(number, f"Port {number}: {hint}.", "info")
        if why and number not in self._explained:
            # Once: that requests pass is what a filter is for.
            self._explained.add(number)
            self._events.emit(Note(f"Port {number}, not for this program: {why}", "info"))

    def note(self, number: int, text: str, level: Literal["info", "warning"] = "warning") -> None:
        """Tell the user something about a port."""
        self._events.emit(Note(text, level, number, self.protocol))


def who_we_are() -> str:
    """Return user and machine, for colleagues who want the same port."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


def _answer_of(refused: StreamRefused) -> Answer:
    if not refused.payload:
        return 0, ""
    try:
        refusal = agent.decode_answer(agent.Refusal, refused.payload)
    except agent.PeerProtocolError:
        return errno.EPROTO, "the agent's answer is not understood"
    return refusal.code or errno.EIO, printable(refusal.reason) or errno.errorcode.get(refusal.code, str(refusal.code))
