"""Answers `Subscribe`: mirrors or steals a port for as long as the session's stream lives."""

import asyncio
import errno

from inpod.agent.incoming.mirror import capture
from inpod.agent.incoming.mirror.mirror import Mirror, MirroredPort
from inpod.agent.incoming.redirect.sk_lookup import SkLookup
from inpod.agent.incoming.steal import Steal
from inpod.protocol.agent import Dropped, Refusal, Subscribe, encode
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

REPORT_EVERY_S = 1.0
"""How often drops are told at most."""


class Subscriptions:
    """All subscriptions of one session."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._steal = Steal(tunnel)
        self._mirror = Mirror(tunnel)
        self._ports: set[int] = set()

    def cannot(self) -> dict[str, str]:
        """Return why "steal" or "mirror" cannot be had here; absent means they can."""
        reasons = {"steal": SkLookup.probe(), "mirror": capture.probe()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    async def subscribe(self, stream: Stream, request: Subscribe) -> None:
        """Accept, or refuse with the reason, and serve until the session ends the stream and all connections ended."""
        port = request.port
        if not 0 < port < 65536:
            return stream.refuse(encode(Refusal(errno.EINVAL, f"{port} is no port")))
        if port in self._ports:
            return stream.refuse(encode(Refusal(errno.EADDRINUSE, f"this session has port {port} already")))
        self._ports.add(port)
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._serve(stream, request, group)
                finally:
                    self._ports.discard(port)
        finally:
            stream.refuse()

    def close(self) -> None:
        """Give every port back at once."""
        self._steal.close()
        self._mirror.close()

    async def _serve(self, stream: Stream, request: Subscribe, group: asyncio.TaskGroup) -> None:
        port = request.port
        report = DropReport(stream)
        try:
            if request.mode == "steal":
                self._steal.add(port, group)
            elif request.mode == "mirror":
                self._mirror.add(MirroredPort(port, group, report.add))
            else:
                raise OSError(errno.EINVAL, f"there is no mode '{request.mode}'")
        except OSError as error:
            stream.refuse(encode(Refusal(error.errno or errno.EIO, str(error.strerror))))
            return
        stream.accept()
        try:
            await _until_ended(stream)
        finally:
            report.close()
            if request.mode == "steal":
                self._steal.remove(port)
            else:
                self._mirror.remove(port)
        stream.refuse()


class DropReport:
    """Tells the session how many packets are missing, a line at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._packets = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, packets: int) -> None:
        """Count packets; they are told soon."""
        self._packets += packets
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REPORT_EVERY_S, self._tell)

    def close(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        self._stream.send(encode(Dropped(self._packets)) + b"\n")
        self._packets = 0


async def _until_ended(stream: Stream) -> None:
    """Wait until the session ends a stream on which it has nothing more to say."""
    try:
        while await stream.read():
            pass
    except StreamRefused:
        return
