"""Passes questions of DNS on as they are, records of any kind: to the servers of resolv.conf, in libc's order.

UDP, then TCP when an answer did not fit. Nothing is cached, and the hosts file has no part in it.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Literal

from inpod.dns import messages
from inpod.dns.config import candidates, parse_resolv_conf
from inpod.protocol.agent import Question

RESOLVE_LIMIT_S = 40.0
"""Longest a question may take, whatever resolv.conf says."""

MAX_QUESTIONS = 128
"""Questions at a time; further ones wait within their own time."""

DNS_PORT = 53
MAX_MESSAGE = 65535

_NEXT_SERVER = {messages.Code.SERVER_FAILURE, messages.Code.NOT_IMPLEMENTED, messages.Code.REFUSED}
"""Answers upon which libc asks the next server."""

Transport = Literal["any", "udp", "tcp"]


class Questions:
    """Answers `Question`.

    Args:
        read_etc: Returns the content of /etc/NAME, empty when missing.
        port: Of the name servers.
    """

    def __init__(self, read_etc: Callable[[str], bytes], *, port: int = DNS_PORT) -> None:
        self._read_etc = read_etc
        self._port = port
        self._slots = asyncio.Semaphore(MAX_QUESTIONS)

    async def question(self, request: Question) -> bytes:
        """Return the message of the name servers; of several names of the search list, the one that says most.

        Raises:
            OSError: ETIMEDOUT: none answers. EBADMSG: not one question.
        """
        query = request.message.encode("latin-1")
        try:
            async with asyncio.timeout(RESOLVE_LIMIT_S):
                return await (self._search_records(query) if request.searches else self.ask(query))
        except TimeoutError as error:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
        except messages.MessageError as error:
            raise OSError(errno.EBADMSG, str(error)) from error

    async def ask(self, query: bytes, transport: Transport = "any") -> bytes:
        """Return what the first of the servers answers that can, as it came.

        Args:
            transport: "any": TCP where it does not fit a datagram; "udp": it comes cut then.

        Raises:
            TimeoutError: None answers.
            MessageError: Not one question.
        """
        asked = messages.decode_head(query)
        conf = parse_resolv_conf(self._read_etc("resolv.conf"))
        if conf.use_tcp and transport == "any":
            transport = "tcp"
        unfit = b""
        async with self._slots:
            for server in conf.nameservers * conf.attempts:
                with contextlib.suppress(OSError, TimeoutError, messages.MessageError):
                    async with asyncio.timeout(conf.timeout_s):
                        answer = await self._ask_server(server, query, asked, transport)
                    if messages.decode_head(answer).code not in _NEXT_SERVER:
                        return answer
                    unfit = answer
        if not unfit:
            raise TimeoutError
        return unfit

    async def _search_records(self, query: bytes) -> bytes:
        conf = parse_resolv_conf(self._read_etc("resolv.conf"))
        found: dict[int, bytes] = {}
        for candidate in candidates(b".".join(messages.decode_head(query).name), conf):
            try:
                asked = messages.renamed(query, messages.parse_name(candidate))
            except messages.MessageError:
                continue
            answer = await self.ask(asked)
            head = messages.decode_head(answer)
            if head.code == messages.Code.NO_ERROR and head.answers:
                return answer
            found.setdefault(head.code, answer)
        if not found:
            raise messages.MessageError("no name that can be asked for")
        # A name without such records says more than a server that fails, and that more than a name that is not there.
        worst_last = (messages.Code.NO_ERROR, messages.Code.SERVER_FAILURE, messages.Code.NAME_ERROR)
        return next((found[code] for code in worst_last if code in found), next(iter(found.values())))

    async def _ask_server(self, server: str, query: bytes, asked: messages.Head, transport: Transport) -> bytes:
        loop = asyncio.get_running_loop()
        if transport != "tcp":
            with socket.socket(family_of(server), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.connect((server, self._port))
                sock.send(query)
                while True:
                    answer = await loop.sock_recv(sock, MAX_MESSAGE)
                    with contextlib.suppress(messages.MessageError):
                        head = messages.decode_head(answer)
                        if head.answers_to(asked):
                            break
            if transport == "udp" or not head.is_truncated:
                return answer
        answer = await ask_by_tcp(server, self._port, query)
        if not messages.decode_head(answer).answers_to(asked):
            raise messages.MessageError("no answer to this query")
        return answer


async def ask_by_tcp(server: str, port: int, query: bytes) -> bytes:
    """Return a server's next message upon a query.

    Raises:
        OSError: No connection.
        MessageError: It ended before.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(family_of(server), socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        await loop.sock_connect(sock, (server, port))
        await loop.sock_sendall(sock, len(query).to_bytes(2) + query)
        length = int.from_bytes(await _receive(loop, sock, 2))
        return await _receive(loop, sock, length)


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address in text form."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


async def _receive(loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(sock, size - len(data))
        if not more:
            raise messages.MessageError("the server ended the connection")
        data += more
    return data
