"""Diverts connections by nf_tables, in a table that the kernel removes with our netlink socket (flags owner, Linux 5.12).

For kernels and namespaces that refuse BPF: it needs CAP_NET_ADMIN in the user namespace of the network namespace only,
so an ordinary user has it in namespaces of his own. In exchange the kernel tracks every connection of the pod while the
table is there, and the stolen socket's own address is that of our listener.

A stalled process gives the ports back as with BPF: the rules match only while an element of a set lives, and the
kernel lets it expire `STALE_AFTER_S` after the last beat.
"""

import contextlib
import errno
import os
import re
import secrets
import socket
import struct
from collections.abc import Callable, Collection

from inpod.agent.incoming.redirect import ruleset
from inpod.agent.incoming.redirect.base import MARK, STALE_AFTER_S, watch_clients
from inpod.agent.incoming.redirect.connections import OPEN, connections
from inpod.agent.incoming.redirect.netlink import NfTables, parse_attributes
from inpod.protocol.agent import Address

BACKLOG = 4096

MAX_PORTS = 1024

_NEEDS_KERNEL = (5, 12)
_SO_ORIGINAL_DST = 80
"""IP6T_SO_ORIGINAL_DST has the same number."""
_IPV4_ADDRESS = struct.Struct(">2xH4s8x")
_IPV6_ADDRESS = struct.Struct(">2xH4x16s4x")

_ANY = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104  # what comes from outside keeps the pod's address


class Nftables:
    """A `Redirect`. The table is made at once.

    Args:
        addresses: The only destination addresses that are diverted; None: all of this network namespace.

    Raises:
        OSError: nf_tables was refused; see `explain`.
    """

    name = "nftables"

    def __init__(self, addresses: Collection[str] | None = None) -> None:
        # Another agent's process may have our number, in a pid namespace of its own.
        self._table = f"inpod_{secrets.token_hex(6)}"
        self._listening: dict[int, list[socket.socket]] = {}
        self._paused: set[int] = set()
        self._used: set[int] = set()
        packed = None if addresses is None else [_pack_ip(ip) for ip in addresses]
        self._kernel: NfTables | None = NfTables()
        try:
            self._kernel.transact(ruleset.create(self._table, packed))
            self._check_owner(self._kernel)
        except BaseException:
            self._kernel.close()
            raise

    @classmethod
    def probe(cls) -> str | None:
        """Return why this machine, or what this process may do on it, does not allow it; None when it does."""
        try:
            cls().close()
        except OSError as error:
            return explain(error, os.uname().release)
        return None

    def steal(self, port: int) -> list[socket.socket]:
        """See `Redirect`."""
        if port in self._listening:
            raise OSError(errno.EADDRINUSE, f"port {port} is stolen already")
        if len(self._listening) >= MAX_PORTS:
            raise OSError(errno.ENOSPC, f"{MAX_PORTS} ports are stolen already")
        listeners: list[socket.socket] = []
        try:
            listeners.extend(listener for family in _ANY if (listener := _listen(family)) is not None)
            if not listeners:
                raise OSError(errno.EAFNOSUPPORT, "the pod has no IP")
            self._divert(port, listeners)
        except BaseException:
            for listener in listeners:
                listener.close()
            raise
        self._listening[port] = listeners
        self._used.update(listener.getsockname()[1] for listener in listeners)
        return listeners

    def release(self, port: int) -> None:
        """See `Redirect`."""
        try:
            self.pause(port)
        finally:
            self._paused.discard(port)
            for listener in self._listening.pop(port, ()):
                listener.close()

    def pause(self, port: int) -> None:
        """See `Redirect`."""
        if port in self._listening and port not in self._paused:
            families = [listener.family for listener in self._listening[port]]
            self._open().transact([ruleset.leave(self._table, family, port) for family in families])
            self._paused.add(port)

    def resume(self, port: int) -> None:
        """See `Redirect`."""
        if port in self._paused:
            self._divert(port, self._listening[port])
            self._paused.discard(port)

    def called(self, sock: socket.socket) -> Address:
        """See `Redirect`. Connection tracking knows."""
        if sock.family == socket.AF_INET6:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, _IPV6_ADDRESS.size)
            port, packed = _IPV6_ADDRESS.unpack(raw)
        else:
            raw = sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, _IPV4_ADDRESS.size)
            port, packed = _IPV4_ADDRESS.unpack(raw)
        return Address(socket.inet_ntop(sock.family, packed), port)

    def exempt(self, sock: socket.socket) -> Callable[[], None]:
        """See `Redirect`."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
        return _nothing

    def beat(self, now_ns: int | None = None) -> None:
        """See `Redirect`. The kernel counts from now; a stand-in's rules and these leave each other's connections alone."""
        self._open().transact(ruleset.beat(self._table, int(STALE_AFTER_S * 1000)))

    def rest(self) -> None:
        """See `Redirect`."""
        self._open().transact(ruleset.rest(self._table))

    def close(self) -> None:
        """See `Redirect`.

        Diverted connections that live on need the kernel to translate their addresses: then the table stays, with
        nothing to divert, until a later `close` finds them ended or the process ends.
        """
        kernel, self._kernel = self._kernel, None
        if kernel is None:
            return
        for listeners in self._listening.values():
            for listener in listeners:
                listener.close()
        self._listening.clear()
        _forget_ended()
        try:
            live_on = _has_connections(self._used)
        except OSError:
            live_on = True  # who knows
        if not live_on:
            kernel.close()
            return
        # On a busy machine the kernel may answer too late. The rules match no more in any case, once the beat is stale.
        with contextlib.suppress(OSError):
            kernel.transact(ruleset.empty(self._table))
        _kept.append((kernel, self._used))

    def _divert(self, port: int, listeners: list[socket.socket]) -> None:
        self._open().transact(
            [ruleset.divert(self._table, listener.family, port, listener.getsockname()[1]) for listener in listeners]
        )

    def _open(self) -> NfTables:
        if self._kernel is None:
            raise OSError(errno.EBADF, "the redirect is closed")
        return self._kernel

    def _check_owner(self, kernel: NfTables) -> None:
        """Never leave a table that stays behind when we die."""
        for answer in kernel.ask(ruleset.look(self._table)):
            if ruleset.TABLE_OWNER in parse_attributes(answer):
                return
        with contextlib.suppress(OSError):
            kernel.transact(ruleset.delete(self._table))
        raise OSError(errno.EOPNOTSUPP, "the kernel ignores 'flags owner'")


_kept: list[tuple[NfTables, set[int]]] = []
"""Tables of closed redirects with connections that live on, and their listeners' ports."""


def explain(error: OSError, release: str) -> str:
    """Return in words what is missing, given why `Nftables` failed and the kernel's release."""
    way = "stealing by nftables"
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) < _NEEDS_KERNEL:
        return f"{way} needs 'flags owner', which came with Linux 5.12; this is {release}"
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{way} was refused with {code}: the agent lacks CAP_NET_ADMIN, or a seccomp profile forbids it"
    if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT):
        return f"{way} failed with {code}: the kernel lacks nf_tables, or its nat, redir or fib"
    return f"{way} failed with {code}: {error.strerror}"


def _listen(family: socket.AddressFamily) -> socket.socket | None:
    """Return a listener on some port of all addresses; None where the kernel has no such IP version."""
    try:
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        watch_clients(listener)
        listener.bind((_ANY[family], 0))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _forget_ended() -> None:
    for held in list(_kept):
        with contextlib.suppress(OSError):
            if not _has_connections(held[1]):
                _kept.remove(held)
                held[0].close()


def _has_connections(ports: Collection[int]) -> bool:
    if not ports:
        return False
    return any(connection.own.port in ports for connection in connections(OPEN))


def _pack_ip(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def _nothing() -> None:
    """The mark is gone with the socket."""
