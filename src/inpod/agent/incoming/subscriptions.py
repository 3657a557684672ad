"""Answers `Subscribe`: mirrors or steals a port for as long as the session's stream lives."""

import asyncio
import errno

from inpod.agent.incoming.mirror import capture
from inpod.agent.incoming.mirror.mirror import Mirror, MirroredPort
from inpod.agent.incoming.redirect.choose import probe as probe_redirect
from inpod.agent.incoming.report import Report
from inpod.agent.incoming.steal import Steal
from inpod.agent.incoming.subscriber import Subscriber
from inpod.protocol.agent import Redirect, Refusal, Subscribe, encode
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel


class Subscriptions:
    """All subscriptions of one session."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._steal = Steal(tunnel)
        self._mirror = Mirror(tunnel)
        self._ports: set[int] = set()

    def cannot(self, redirect: Redirect) -> dict[str, str]:
        """Return why "steal", by that redirect from now on, or "mirror" cannot be had here; absent means they can."""
        self._steal.force = redirect
        reasons = {"steal": probe_redirect(redirect), "mirror": capture.probe()}
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
        report = Report(stream)
        try:
            if request.mode == "steal":
                await self._steal.add(request, stream, report, group)
            elif request.mode == "mirror":
                self._mirror.add(MirroredPort(Subscriber(self._tunnel, request, report), group))
            else:
                raise OSError(errno.EINVAL, f"there is no mode '{request.mode}'")
        except (OSError, ValueError) as error:
            code, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (errno.EINVAL, str(error))
            stream.refuse(encode(Refusal(code or errno.EIO, str(reason))))
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


async def _until_ended(stream: Stream) -> None:
    """Wait until the session ends a stream on which it has nothing more to say."""
    try:
        while await stream.read():
            pass
    except StreamRefused:
        return
