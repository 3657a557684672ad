"""Diverts connections by a BPF program that chooses the listening socket (sk_lookup, Linux 5.9).

The kernel asks the program for every connection that arrives in the network namespace, before it looks for a listener
itself. So the original's sockets are not touched, the stolen socket has the real addresses at both ends, and when our
descriptors close, the link, the program and the maps are gone.
"""

import contextlib
import errno
import os
import re
import resource
import socket
import struct
import time
from collections.abc import Callable, Collection

from inpod.agent.incoming.redirect import bpf
from inpod.agent.incoming.redirect.base import MARK, watch_clients
from inpod.agent.incoming.redirect.program import build_program
from inpod.protocol.agent import Address

MAX_PORTS = 128
"""Ports at a time. Before Linux 5.11 maps count against RLIMIT_MEMLOCK, often 64 KiB: so many fit."""

BACKLOG = 4096

MAX_EXEMPT = 16384
"""Connections to the original at a time."""

_PROG_TYPE = 30
_ATTACH_TYPE = 36
_NEEDS_KERNEL = (5, 9)
_LICENCE = "Apache-2.0"

_IP_FREEBIND = 15
_BEAT_KEY = struct.pack("=I", 0)
_PORT_KEY = struct.Struct("=IHH")  # port, protocol, address family
_EXEMPT_KEY = struct.Struct("=16s2s2x")  # address (IPv4 in its first word), port, both in network order
_ADDRESS_BYTES = 16
_PRESENT = b"\1\0\0\0"
_U64 = struct.Struct("=Q")


class SkLookup:
    """A `Redirect`. The program is loaded at once, and attached from the first port on.

    Args:
        addresses: The only destination addresses that are diverted; None: all of this network namespace.
        protocol: TCP; or UDP, whose listeners get the datagrams themselves (and tell the address called by PKTINFO).

    Raises:
        OSError: bpf(2) was refused; see `explain`.
    """

    name = "BPF sk_lookup"

    def __init__(self, addresses: Collection[str] | None = None, protocol: int = socket.IPPROTO_TCP) -> None:
        _raise_memlock_limit()
        self._protocol = protocol
        self._listening: dict[int, list[socket.socket]] = {}
        self._paused: set[int] = set()
        self._descriptors = contextlib.ExitStack()
        with self._descriptors as undo:
            self._beat = bpf.Map(bpf.MAP_TYPE_ARRAY, 4, _U64.size, 1)
            undo.callback(self._beat.close)
            self._listeners = bpf.Map(bpf.MAP_TYPE_SOCKHASH, _PORT_KEY.size, _U64.size, 2 * MAX_PORTS)
            undo.callback(self._listeners.close)
            self._exempt = bpf.Map(bpf.MAP_TYPE_HASH, _EXEMPT_KEY.size, 4, MAX_EXEMPT)
            undo.callback(self._exempt.close)
            allowed: int | None = None
            if addresses is not None:
                allowed = _address_map(addresses, undo)
            code = build_program(self._beat.fd, self._listeners.fd, self._exempt.fd, allowed)
            self._program = bpf.load_program(_PROG_TYPE, _ATTACH_TYPE, code, name="inpod_steal", licence=_LICENCE)
            undo.callback(os.close, self._program)
            self._descriptors = undo.pop_all()
        self._is_attached = False
        self._is_closed = False

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
        self._listening[port] = listeners
        try:
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                listener = _listen(family, host, self._protocol)
                if listener is not None:
                    listeners.append(listener)
            if not listeners:
                raise OSError(errno.EAFNOSUPPORT, "the pod has no IP")
            self._divert(port)
            self.attach()
        except BaseException:
            self.release(port)
            raise
        return listeners

    def release(self, port: int) -> None:
        """See `Redirect`."""
        self.pause(port)
        self._paused.discard(port)
        for listener in self._listening.pop(port, ()):
            listener.close()

    def pause(self, port: int) -> None:
        """See `Redirect`."""
        for listener in self._listening.get(port, ()):
            self._listeners.delete(self._key(port, listener))
            self._paused.add(port)

    def resume(self, port: int) -> None:
        """See `Redirect`."""
        if port in self._paused:
            self._divert(port)
            self._paused.discard(port)

    def called(self, sock: socket.socket) -> Address:
        """See `Redirect`. The stolen socket has the address that was called."""
        ip, port = sock.getsockname()[:2]
        return Address(ip.partition("%")[0], port)

    def exempt(self, sock: socket.socket) -> Callable[[], None]:
        """See `Redirect`."""
        _mark(sock)
        ip, port = sock.getsockname()[:2]
        key = _EXEMPT_KEY.pack(_pack_ip(ip), port.to_bytes(2, "big"))
        # Connections outlive their port, and then nothing is diverted.
        if not self._is_closed:
            self._exempt.set(key, _PRESENT)
        return lambda: self._end_exemption(key)

    def beat(self, now_ns: int | None = None) -> None:
        """See `Redirect`. However late it comes, it does not count for longer."""
        self._beat.set(_BEAT_KEY, _U64.pack(time.clock_gettime_ns(time.CLOCK_MONOTONIC) if now_ns is None else now_ns))

    def rest(self) -> None:
        """See `Redirect`."""
        self._beat.set(_BEAT_KEY, _U64.pack(0))

    def close(self) -> None:
        """See `Redirect`."""
        self._descriptors.close()
        self._is_closed = True
        for listeners in self._listening.values():
            for listener in listeners:
                listener.close()
        self._listening.clear()

    def _divert(self, port: int) -> None:
        for listener in self._listening[port]:
            self._listeners.set(self._key(port, listener), _U64.pack(listener.fileno()))

    def _key(self, port: int, listener: socket.socket) -> bytes:
        return _PORT_KEY.pack(port, self._protocol, listener.family)

    def _end_exemption(self, key: bytes) -> None:
        # The connection may outlive the redirect, whose descriptor's number is another's then.
        if not self._is_closed:
            self._exempt.delete(key)

    def attach(self) -> None:
        """Have the kernel ask the program from here on; `steal` does so too.

        Raises:
            OSError: Not possible in this network namespace.
        """
        if self._is_attached:
            return
        netns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            link = bpf.create_link(self._program, netns, _ATTACH_TYPE)
        finally:
            os.close(netns)
        self._descriptors.callback(os.close, link)
        self._is_attached = True


def explain(error: OSError, release: str) -> str:
    """Return in words what is missing, given why `SkLookup` failed and the kernel's release, as "5.4.0-26-generic"."""
    way = "stealing by BPF sk_lookup"
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) < _NEEDS_KERNEL:
        return f"{way} needs Linux 5.9; this is {release}"
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"{way} was refused with {code}: the agent lacks CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN) "
            "in the machine's first user namespace, or a seccomp profile forbids it"
        )
    return f"{way} failed with {code}: {error.strerror}"


def _listen(family: socket.AddressFamily, host: str, protocol: int) -> socket.socket | None:
    """Return a listener on some port; None where the kernel has no such IP version. Nobody is meant to call its address."""
    kind = socket.SOCK_STREAM if protocol == socket.IPPROTO_TCP else socket.SOCK_DGRAM
    try:
        listener = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        if kind == socket.SOCK_STREAM:
            # Stolen connections are on the original's port, inherit this, and let the original bind its port anew.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            watch_clients(listener)
        _mark(listener)
        # A network namespace may have its loopback device down.
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _mark(sock: socket.socket) -> None:
    """Let other agents see that a socket, or what it accepts, is no connection of the original."""
    with contextlib.suppress(OSError):  # CAP_SYS_ADMIN alone allows to steal, and not this
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)


def _address_map(addresses: Collection[str], undo: contextlib.ExitStack) -> int:
    """Return the descriptor of a hash of the addresses; `undo` closes it."""
    hash_map = bpf.Map(bpf.MAP_TYPE_HASH, _ADDRESS_BYTES, len(_PRESENT), max(1, len(addresses)))
    undo.callback(hash_map.close)
    for ip in addresses:
        hash_map.set(_pack_ip(ip), _PRESENT)
    return hash_map.fd


def _pack_ip(ip: str) -> bytes:
    """Return an address as the program compares it: IPv4 in the first word."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    # Link-local addresses come with the device's name.
    return socket.inet_pton(family, ip.partition("%")[0]).ljust(_ADDRESS_BYTES, b"\0")


def _raise_memlock_limit() -> None:
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
