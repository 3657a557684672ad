"""Answers `Subscribe`: mirrors or steals a port for as long as the session's stream lives. And `Knock`."""

import asyncio
import contextlib
import errno
from typing import TYPE_CHECKING

from inpod.agent.incoming.report import Report
from inpod.protocol.agent import Hello, IpProtocol, Knock, Knocked, Refusal, Subscribe, encode
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

if TYPE_CHECKING:
    from inpod.agent.incoming.mirror.mirror import Mirror
    from inpod.agent.incoming.steal import StealTcp
    from inpod.agent.incoming.udp import MirrorUdp, StealUdp


class Subscriptions:
    """All subscriptions of one session. What a mode needs is loaded when that mode is wanted: a start waits for it.

    Args:
        target: Descriptor of the target process's folder in /proc; None where there is no process.
        home: Descriptor of the agent's own network namespace, where that is another than the target's.
    """

    def __init__(self, tunnel: Tunnel, target: int | None, home: int | None) -> None:
        self._tunnel = tunnel
        self._target = target
        self._home = home
        self._steal: StealTcp | None = None
        self._mirror: Mirror | None = None
        self._steal_udp: StealUdp | None = None
        self._mirror_udp: MirrorUdp | None = None
        self._hello = Hello(0)
        self._ports: set[tuple[IpProtocol, int]] = set()

    def cannot(self, hello: Hello) -> dict[str, str]:
        """Return why what the session wants cannot be had here; absent means it can."""
        self._hello = hello
        reasons: dict[str, str | None] = {}
        if "steal" in hello.wants:
            from inpod.agent.incoming.redirect.choose import probe as probe_redirect

            reasons["steal"] = probe_redirect(hello.redirect)
        if "mirror" in hello.wants:
            from inpod.agent.incoming.mirror import capture

            reasons["mirror"] = capture.probe()
        return {name: reason for name, reason in reasons.items() if reason is not None}

    async def subscribe(self, stream: Stream, request: Subscribe) -> None:
        """Accept, or refuse with the reason, and serve until the session ends the stream and all connections ended."""
        port = request.port
        if not 0 < port < 65536:
            return stream.refuse(encode(Refusal(errno.EINVAL, f"{port} is no port")))
        key = (request.protocol, port)
        if key in self._ports:
            return stream.refuse(encode(Refusal(errno.EADDRINUSE, f"this session has port {port} already")))
        self._ports.add(key)
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    await self._serve(stream, request, group)
                finally:
                    self._ports.discard(key)
        finally:
            stream.refuse()

    async def knock(self, request: Knock) -> Knocked:
        """Answer `Knock`.

        Raises:
            OSError: Nobody knows.
        """
        from inpod.agent.incoming import knocks

        return Knocked(await knocks.arrives(request.to, request.port, self._hello.addresses, self._home))

    def close(self) -> None:
        """Give every port back at once."""
        for feature in (self._steal, self._mirror, self._steal_udp, self._mirror_udp):
            if feature is not None:
                feature.close()

    def _stealing(self) -> "StealTcp":
        if self._steal is None:
            from inpod.agent.incoming.steal import StealTcp

            self._steal = StealTcp(self._tunnel, self._hello.redirect, self._hello.addresses)
        return self._steal

    def _mirroring(self) -> "Mirror":
        if self._mirror is None:
            from inpod.agent.incoming.mirror.mirror import Mirror

            self._mirror = Mirror(self._tunnel, self._hello.addresses)
        return self._mirror

    def _stealing_udp(self) -> "StealUdp":
        if self._steal_udp is None:
            from inpod.agent.incoming.udp import StealUdp

            self._steal_udp = StealUdp(self._tunnel, self._hello.redirect, self._hello.addresses)
        return self._steal_udp

    def _mirroring_udp(self) -> "MirrorUdp":
        if self._mirror_udp is None:
            from inpod.agent.incoming.udp import MirrorUdp

            self._mirror_udp = MirrorUdp(self._tunnel, self._hello.addresses)
        return self._mirror_udp

    async def _serve(self, stream: Stream, request: Subscribe, group: asyncio.TaskGroup) -> None:
        report = Report(stream)
        feature: StealTcp | StealUdp | Mirror | MirrorUdp
        try:
            if request.mode not in ("steal", "mirror"):
                raise OSError(errno.EINVAL, f"there is no mode '{request.mode}'")
            if request.mode == "steal":
                feature = self._stealing() if request.protocol == "tcp" else self._stealing_udp()
                await feature.add(request, stream, report, group)
            else:
                feature = self._mirroring() if request.protocol == "tcp" else self._mirroring_udp()
                feature.add(request, report, group)
        except (OSError, ValueError) as error:
            code, reason = (error.errno, error.strerror) if isinstance(error, OSError) else (errno.EINVAL, str(error))
            stream.refuse(encode(Refusal(code or errno.EIO, str(reason))))
            return
        stream.accept()
        group.create_task(self._look_who_serves(request, report))
        try:
            await _until_ended(stream)
        finally:
            report.close()
            feature.remove(request.port)
        stream.refuse()

    async def _look_who_serves(self, request: Subscribe, report: Report) -> None:
        # Nobody knows where no descriptor is left, which the module needs, too.
        with contextlib.suppress(OSError):
            from inpod.agent.incoming.served import hint

            # In a thread: a node has many processes.
            if text := await asyncio.to_thread(hint, request.port, request.protocol, self._target):
                report.hint(text)


async def _until_ended(stream: Stream) -> None:
    """Wait until the session ends a stream on which it has nothing more to say."""
    try:
        while await stream.read():
            pass
    except StreamRefused:
        return
