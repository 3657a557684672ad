"""Questions of DNS that the filter leaves on this machine: they are taken out of what goes to port 53, and answered here.

A program that asks name servers itself asks those of the pod's resolv.conf; what it sends them passes through the session.
The question goes to this machine's servers as it is, and the program hears their answer from whom it asked.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Sequence
from pathlib import Path

from inpod.config.outgoing import Way
from inpod.dns import messages
from inpod.dns.questions import RESOLVE_LIMIT_S, Questions, Transport
from inpod.session.names.filter import NameFilter, joined_hosts
from inpod.tunnel.streams import Stream, StreamRefused

log = logging.getLogger(__name__)

MAX_WAITING = 1024
"""Questions of datagrams at a time; more of them are dropped, as UDP may."""

_LENGTH_BYTES = 2


class LocalNames:
    """Those of a session."""

    def __init__(self, names: NameFilter, questions: Questions) -> None:
        self._names = names
        self._questions = questions
        self._waiting = 0

    @staticmethod
    def of(way: Way, search: Sequence[str]) -> "LocalNames | None":
        """Return those of a session, None when the filter leaves no name here.

        Args:
            search: Domains that the target's resolvers add to names.
        """
        names = NameFilter.of(way, search)
        return None if names is None else LocalNames(names, Questions(_read_etc))

    def hosts(self, pods: bytes) -> bytes:
        """Return the hosts file that the program sees, of the target's."""
        return joined_hosts(pods, _read_etc("hosts"), self._names.is_local)

    def is_here(self, message: bytes) -> bool:
        """Return whether a message is a question that this machine answers."""
        try:
            head = messages.decode_head(message)
        except messages.MessageError:
            return False
        return not head.is_response and self._names.is_local(b".".join(head.name).decode("latin-1"))

    async def answer(self, message: bytes) -> bytes | None:
        """Return the answer to a question that came as a datagram, None when there is none to be had."""
        if self._waiting >= MAX_WAITING:
            return None
        self._waiting += 1
        try:
            return await self._ask(message, "udp")
        finally:
            self._waiting -= 1

    async def relay(self, stream: Stream, sock: socket.socket) -> None:
        """Pass messages between a connection of the program and one of a name server; take out those that are ours.

        Takes over both.
        """
        try:
            reader, writer = await asyncio.open_connection(sock=sock)
        except OSError:
            sock.close()
            stream.refuse()
            return
        try:
            async with asyncio.TaskGroup() as group:
                forth = group.create_task(self._forth(stream, reader, writer))
                await self._back(stream, writer)
                # The server has ended; and with it the connection, as the program may have more for it.
                forth.cancel()
        except* (OSError, StreamRefused):
            pass
        finally:
            stream.refuse()
            # Not waited for: a program that does not read what was said to it would hold up the session's end.
            writer.close()

    async def _forth(self, stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(_LENGTH_BYTES)
                message = await reader.readexactly(int.from_bytes(head))
                if not self.is_here(message):
                    await stream.write(head + message)
                elif answer := await self._ask(message, "tcp"):
                    await _say(writer, answer)
        stream.write_eof()

    async def _back(self, stream: Stream, writer: asyncio.StreamWriter) -> None:
        held = bytearray()
        while data := await stream.read():
            held += data
            # Whole messages: ours may come between them.
            while len(held) >= _LENGTH_BYTES and len(held) >= (
                end := _LENGTH_BYTES + int.from_bytes(held[:_LENGTH_BYTES])
            ):
                await _say(writer, bytes(held[_LENGTH_BYTES:end]))
                del held[:end]

    async def _ask(self, message: bytes, transport: Transport) -> bytes | None:
        try:
            async with asyncio.timeout(RESOLVE_LIMIT_S):
                return await self._questions.ask(message, transport)
        except (TimeoutError, messages.MessageError) as error:
            log.debug("this machine's name servers do not answer: %r", error)
            return None


async def _say(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(len(message).to_bytes(_LENGTH_BYTES) + message)
    await writer.drain()


def _read_etc(name: str) -> bytes:
    try:
        return Path("/etc", name).read_bytes()
    except OSError:
        return b""
