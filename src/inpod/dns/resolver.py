"""Asks name servers: UDP, then TCP when an answer did not fit. In the agent: the target's, from its network.

Order as in libc: numeric addresses, /etc/hosts, then DNS with the search list. Files are read anew for each question,
as the kubelet may rewrite them; nothing is cached here.
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from inpod.dns import messages
from inpod.dns.config import (
    ResolvConf,
    candidates,
    find_in_hosts,
    find_name_in_hosts,
    is_address,
    parse_resolv_conf,
)
from inpod.dns.questions import RESOLVE_LIMIT_S
from inpod.dns.servers import DNS_PORT, ask_by_tcp, ask_by_udp, family_of
from inpod.protocol.agent import FindName, Resolve, Resolved

MAX_QUESTIONS = 128
"""Questions at a time; further ones wait within their own time."""

MAX_ADDRESSES = 256
_KINDS = {socket.AF_INET: messages.A, socket.AF_INET6: messages.AAAA}

_VERSIONS = {socket.AF_INET: 4, socket.AF_INET6: 6}


@dataclass(slots=True)
class _Outcome:
    """Of one name: addresses, or a failure as in `Resolved`; "broken" is a server's own failure ("again" in the end)."""

    failure: str
    addresses: list[str]
    canonical: str = ""
    ttl: int = 0


class Resolver:
    """Answers `Resolve` and `FindName`.

    Args:
        read_etc: Returns the content of /etc/NAME, empty when missing.
        port: Of the name servers.
    """

    def __init__(self, read_etc: Callable[[str], bytes], *, port: int = DNS_PORT) -> None:
        self._read_etc = read_etc
        self._port = port
        self._slots = asyncio.Semaphore(MAX_QUESTIONS)

    async def answer(self, request: Resolve | FindName) -> Resolved:
        """Return what the target's libc would find; never raises for what the network does."""
        try:
            async with asyncio.timeout(RESOLVE_LIMIT_S), self._slots:
                return await (self._resolve(request) if isinstance(request, Resolve) else self._find_name(request.ip))
        except TimeoutError:
            return Resolved(failure="again")

    async def _find_name(self, ip: str) -> Resolved:
        if not is_address(ip):
            return Resolved(failure="noname")
        if name := find_name_in_hosts(self._read_etc("hosts"), ip):
            return Resolved(canonical=name)
        conf = parse_resolv_conf(self._read_etc("resolv.conf"))
        (outcome,) = await self._query(messages.reverse_name(ip), [messages.PTR], conf)
        name = next(filter(None, outcome.addresses), "")
        failure = {"broken": "again"}.get(outcome.failure, outcome.failure)
        return Resolved([], "" if name else failure or "noname", name, outcome.ttl)

    async def _resolve(self, request: Resolve) -> Resolved:
        families = [f for f in _KINDS if request.family in (0, f)]
        versions = tuple(_VERSIONS[f] for f in families)
        if is_address(request.name):
            fits = ipaddress.ip_address(request.name).version in versions
            return Resolved([request.name], canonical=request.name) if fits else Resolved(failure="noname")
        name = request.name.encode("utf-8", "surrogateescape")
        canonical, found = find_in_hosts(self._read_etc("hosts"), name, versions)
        if not found and _is_localhost(name):
            # RFC 6761 section 6.3: not to be asked of name servers.
            canonical, found = "localhost", [{4: "127.0.0.1", 6: "::1"}[v] for v in versions]
        if found:
            return Resolved(reachable_first(found[:MAX_ADDRESSES]), canonical=canonical)
        conf = parse_resolv_conf(self._read_etc("resolv.conf"))
        outcome = await self._search(name, families, conf)
        addresses = reachable_first(outcome.addresses[:MAX_ADDRESSES])
        return Resolved(addresses, outcome.failure, outcome.canonical, outcome.ttl)

    async def _search(self, name: bytes, families: list[socket.AddressFamily], conf: ResolvConf) -> _Outcome:
        """Try the candidates in order: a name that is not there leads to the next, silence ends the search."""
        failures: set[str] = set()
        for candidate in candidates(name, conf):
            try:
                labels = messages.parse_name(candidate)
            except messages.MessageError:
                continue
            outcome = _merge(await self._query(labels, [_KINDS[f] for f in families], conf))
            if not outcome.failure or outcome.failure == "again":
                return outcome
            failures.add(outcome.failure)
        worst = next((f for f in ("nodata", "broken") if f in failures), "noname")
        return _Outcome("again" if worst == "broken" else worst, [])

    async def _query(self, name: messages.Name, kinds: list[int], conf: ResolvConf) -> list[_Outcome]:
        """Ask each server, `attempts` times round, for the kinds of addresses of which none has said yes or no yet."""
        outcomes: dict[int, _Outcome] = {}
        for server in conf.nameservers * conf.attempts:
            wanted = [kind for kind in kinds if kind not in outcomes or outcomes[kind].failure == "broken"]
            if not wanted:
                break
            responses: dict[int, messages.Response] = {}
            with contextlib.suppress(OSError, TimeoutError, messages.MessageError):
                await self._exchange(server, name, wanted, responses, conf)
            outcomes |= {kind: _outcome_of(response) for kind, response in responses.items()}
        return [outcomes.get(kind, _Outcome("again", [])) for kind in kinds]

    async def _exchange(
        self,
        server: str,
        name: messages.Name,
        kinds: list[int],
        responses: dict[int, messages.Response],
        conf: ResolvConf,
    ) -> None:
        """Ask one server; the whole responses go into `responses` as they come, also when the rest fails."""
        random = os.urandom(2 * len(kinds))
        ids = {kind: int.from_bytes(random[2 * at : 2 * at + 2]) for at, kind in enumerate(kinds)}
        queries = {kind: messages.encode_query(ids[kind], name, kind) for kind in kinds}
        awaited = set(kinds)

        def answers(message: bytes) -> messages.Response | None:
            """Return the response that a message is, None when its id or question is not ours (RFC 5452 section 9.1)."""
            with contextlib.suppress(messages.MessageError):
                response = messages.decode_response(message)
                if ids.get(response.kind) == response.query_id and response.name == name:
                    return response
            return None

        def take(message: bytes) -> bool:
            response = answers(message)
            if response is not None and response.kind in awaited:
                awaited.discard(response.kind)
                if not response.is_truncated:
                    responses[response.kind] = response
            return not awaited

        if not conf.use_tcp:
            await ask_by_udp(server, self._port, queries.values(), take, limit_s=conf.timeout_s)
        for kind, query in queries.items():
            if kind not in responses:
                response = answers(await ask_by_tcp(server, self._port, query, limit_s=conf.timeout_s))
                if response is None or response.kind != kind or response.is_truncated:
                    raise messages.MessageError("no answer to this query")
                responses[kind] = response


def _outcome_of(response: messages.Response) -> _Outcome:
    match response.code:
        case messages.Code.NO_ERROR:
            canonical, addresses = messages.follow(response)
            if not addresses:
                return _Outcome("nodata", [])
            ttl = min(record.ttl for record in response.records)
            return _Outcome("", addresses, messages.name_text(canonical), ttl)
        case messages.Code.NAME_ERROR:
            return _Outcome("noname", [])
        case _:
            return _Outcome("broken", [])


def reachable_first(addresses: list[str]) -> list[str]:
    """Return the addresses with those first that have a route, and of these IPv6 first (RFC 6724, rules 1 and 6)."""
    addresses = list(dict.fromkeys(addresses))
    if len(addresses) < 2:
        return addresses
    return sorted(addresses, key=lambda a: (not _has_route(a), ":" not in a))


def _has_route(address: str) -> bool:
    # Connecting a UDP socket sends nothing, but asks for a route.
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            return sock.connect_ex((address, DNS_PORT)) == 0
    except OSError:
        return False  # a kernel without IPv6, or the scope of a device that is not here


def _merge(outcomes: list[_Outcome]) -> _Outcome:
    """Return one outcome of the questions for A and AAAA of the same name."""
    if found := [o for o in outcomes if o.addresses]:
        return _Outcome("", [a for o in found for a in o.addresses], found[0].canonical, min(o.ttl for o in found))
    order = ("again", "broken", "nodata", "noname")
    return min(outcomes, key=lambda o: order.index(o.failure))


def _is_localhost(name: bytes) -> bool:
    plain = name.lower().removesuffix(b".")
    return plain == b"localhost" or plain.endswith(b".localhost")
