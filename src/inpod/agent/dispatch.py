"""Serves one link: hands each stream that the session opens to the feature that its request belongs to."""

import asyncio
import errno
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import assert_never

from inpod.agent.addresses import own_addresses
from inpod.agent.datagrams import Datagrams
from inpod.agent.env import environment
from inpod.agent.files.service import Files
from inpod.agent.incoming.subscriptions import Subscriptions
from inpod.agent.outgoing import Outgoing
from inpod.agent.target import Target, TargetError
from inpod.dns.config import parse_resolv_conf
from inpod.dns.questions import Questions
from inpod.dns.resolver import Resolver
from inpod.protocol.agent import (
    PROTOCOL_VERSION,
    Answer,
    Connect,
    ConnectUdp,
    ConnectUnix,
    FindName,
    Finish,
    Hello,
    Incoming,
    Knock,
    LookUp,
    PeerProtocolError,
    Question,
    ReadEnv,
    ReadFile,
    Refusal,
    Request,
    Resolve,
    Subscribe,
    WatchFiles,
    Welcome,
    decode_request,
    encode,
)
from inpod.tunnel import outlets
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel

MAX_STREAMS = 16384
"""Streams served at a time; further ones are refused."""

SILENCE_CHECK_S = 5.0

STILL_WAITING = b"."
"""Data that answers `Finish` while there is more to wait for."""


class Abilities:
    """What outlives a link: the target and what reads of it.

    Attributes:
        target: Or why there is none: then every request is refused with that.
    """

    def __init__(self, target: Target | TargetError) -> None:
        self.target = target
        root = target.root if isinstance(target, Target) else None
        self.files = None if root is None else Files(root)
        self.resolver = Resolver(target.read_etc) if isinstance(target, Target) else None
        self.questions = Questions(target.read_etc) if isinstance(target, Target) else None
        self.outgoing = Outgoing()
        self.datagrams = Datagrams()


async def serve(
    sock: socket.socket,
    abilities: Abilities,
    *,
    silence_limit_s: float | None = None,
    on_lost: Callable[[], None] = lambda: None,
    on_finish: Callable[[], None] = lambda: None,
) -> None:
    """Serve the session at the other end of `sock` until the link is lost, or nothing was heard for the limit.

    Args:
        on_lost: Called when the link is lost.
        on_finish: Called when the session has said its last.
    """
    async with asyncio.TaskGroup() as group:
        link = _Link(abilities, group, on_finish)
        link.tunnel.lost.add_done_callback(lambda _: on_lost())
        try:
            await link.tunnel.attach(sock)
            await _until_lost(link.tunnel, silence_limit_s)
        finally:
            link.close()


async def _until_lost(tunnel: Tunnel, silence_limit_s: float | None) -> None:
    clock = asyncio.get_running_loop().time
    while not tunnel.lost.done():
        await asyncio.wait([tunnel.lost], timeout=SILENCE_CHECK_S)
        if silence_limit_s is not None and clock() - tunnel.last_heard > silence_limit_s:
            return


class _Link:
    """One tunnel and the tasks that serve its streams."""

    def __init__(self, abilities: Abilities, group: asyncio.TaskGroup, on_finish: Callable[[], None]) -> None:
        self._abilities = abilities
        self._on_finish = on_finish
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self.tunnel = Tunnel(initiator=False, on_stream=self._on_stream)
        target = abilities.target
        proc, home = (target.proc, target.home) if isinstance(target, Target) else (None, None)
        self._subscriptions = Subscriptions(self.tunnel, proc, home)

    def close(self) -> None:
        self._subscriptions.close()
        self.tunnel.close()
        for task in self._tasks:
            task.cancel()

    def _on_stream(self, stream: Stream, head: bytes) -> None:
        try:
            request = decode_request(head)
        except PeerProtocolError as error:
            stream.refuse(encode(Refusal(errno.EPROTO, str(error))))
            return
        if isinstance(request, Connect):
            self._connect(stream, request)
            return
        if len(self._tasks) >= MAX_STREAMS:
            stream.refuse(encode(Refusal(errno.EAGAIN, "the agent serves too many streams")))
            return
        task = self._group.create_task(self._serve(stream, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not isinstance(request, Subscribe):
            stream.on_closed = lambda: _cancel(task)

    def _connect(self, stream: Stream, request: Connect) -> None:
        """Begin a connection of the program: without a task, as there may be thousands in a second."""
        target = self._abilities.target
        try:
            if isinstance(target, TargetError):
                raise target
            self._abilities.outgoing.connect(stream, request)
        except Exception as error:
            stream.refuse(encode(_refusal(error)))

    async def _serve(self, stream: Stream, request: Request) -> None:
        try:
            await self._answer(stream, request)
        except StreamRefused:
            # The session does not want the answer any more.
            pass
        except Exception as error:
            stream.refuse(encode(_refusal(error)))

    async def _answer(self, stream: Stream, request: Request) -> None:
        abilities = self._abilities
        target = abilities.target
        if isinstance(target, TargetError):
            raise target
        match request:
            case Hello():
                self._say(stream, self._welcome(target, request))
            case ReadEnv():
                answer = environment(target)
                stream.accept()
                await stream.write(answer)
                stream.write_eof()
            case Resolve() | FindName():
                assert abilities.resolver is not None
                self._say(stream, await abilities.resolver.answer(request))
            case Question():
                assert abilities.questions is not None
                message = await abilities.questions.question(request)
                stream.accept()
                await stream.write(message)
                stream.write_eof()
            case ConnectUnix():
                if target.root is None:
                    raise OSError(errno.ENOTSUP, target.cannot["files"])
                # The connection goes on after this task.
                stream.on_closed = None
                abilities.outgoing.connect_unix(stream, target.root, request)
            case ConnectUdp():
                await abilities.datagrams.connect(stream, request)
            case LookUp() | ReadFile() | WatchFiles():
                if abilities.files is None:
                    raise OSError(errno.ENOTSUP, target.cannot["files"])
                if isinstance(request, LookUp):
                    await abilities.files.look_up(stream, request)
                elif isinstance(request, WatchFiles):
                    await abilities.files.watch(stream)
                else:
                    await abilities.files.read_file(stream, request)
            case Subscribe():
                await self._subscriptions.subscribe(stream, request)
            case Knock():
                self._say(stream, await self._subscriptions.knock(request))
            case Finish():
                stream.accept()
                try:
                    have_all = await outlets.arrived(lambda: stream.send(STILL_WAITING))
                finally:
                    self._on_finish()
                if not have_all:
                    raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
                stream.write_eof()
            case Incoming():
                raise OSError(errno.EPROTO, "only the agent opens incoming connections")
            case Connect():
                raise AssertionError("`_connect` serves it")
            case _:
                assert_never(request)

    def _say(self, stream: Stream, answer: Answer) -> None:
        # Who answers is done: it must not be cancelled for the end of its stream.
        stream.on_closed = None
        self.tunnel.answer(stream, encode(answer))

    def _welcome(self, target: Target, request: Hello) -> Welcome:
        if request.version != PROTOCOL_VERSION:
            raise OSError(errno.EPROTO, f"the agent speaks version {PROTOCOL_VERSION}, not {request.version}")
        cannot = {**target.cannot, **self._subscriptions.cannot(request)}
        search = [domain.decode("latin-1") for domain in parse_resolv_conf(target.read_etc("resolv.conf")).search]
        return Welcome(target.hostname, cannot, own_addresses(), search)


def _refusal(error: Exception) -> Refusal:
    """Return what the session is told. A fault of ours must end one stream, not the agent and with it every other."""
    match error:
        case TargetError():
            return Refusal(error.code, str(error))
        case OSError():
            code = error.errno or errno.EIO
            return Refusal(code, "" if error.strerror in (None, os.strerror(code)) else str(error.strerror))
        case _:
            traceback.print_exception(error, file=sys.stderr)
            return Refusal(errno.EIO, f"the agent failed: {type(error).__name__}; please report this")


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
