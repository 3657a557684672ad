"""Passes questions of DNS on as they are, records of any kind: to the servers of resolv.conf, in libc's order.

UDP, then TCP when an answer did not fit. Nothing is cached, and the hosts file has no part in it.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from typing import Literal

from inpod.dns import messages
from inpod.dns.config import candidates, parse_resolv_conf
from inpod.dns.servers import DNS_PORT, ask_by_tcp, ask_by_udp
from inpod.protocol.agent import Question

RESOLVE_LIMIT_S = 40.0
"""Longest a question may take, whatever resolv.conf says."""

MAX_QUESTIONS = 128
"""Questions at a time; further ones wait within their own time."""

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
                    answer = await self._ask_server(server, query, asked, transport, conf.timeout_s)
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

    async def _ask_server(
        self, server: str, query: bytes, asked: messages.Head, transport: Transport, limit_s: float
    ) -> bytes:
        if transport != "tcp":
            answers: list[bytes] = []

            def take(message: bytes) -> bool:
                with contextlib.suppress(messages.MessageError):
                    if messages.decode_head(message).answers_to(asked):
                        answers.append(message)
                return bool(answers)

            await ask_by_udp(server, self._port, [query], take, limit_s=limit_s)
            if transport == "udp" or not messages.decode_head(answers[0]).is_truncated:
                return answers[0]
        answer = await ask_by_tcp(server, self._port, query, limit_s=limit_s)
        if not messages.decode_head(answer).answers_to(asked):
            raise messages.MessageError("no answer to this query")
        return answer
