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

from inpod.agent.incoming.redirect import bpf
from inpod.agent.incoming.redirect.assembler import Assembler, Register, Size
from inpod.agent.incoming.redirect.base import STALE_AFTER_S

MAX_PORTS = 128
"""Ports at a time. Before Linux 5.11 maps count against RLIMIT_MEMLOCK, often 64 KiB: so many fit."""

BACKLOG = 4096

_PROG_TYPE = 30
_ATTACH_TYPE = 36
_NEEDS_KERNEL = (5, 9)
_LICENCE = "Apache-2.0"

_MAP_LOOKUP_ELEM = 1
_KTIME_GET_NS = 5
_SK_RELEASE = 86
_SK_ASSIGN = 124
_SK_PASS = 1

# struct bpf_sk_lookup, what the program is given.
_FAMILY = 8
_PROTOCOL = 12
_LOCAL_PORT = 60

_IP_FREEBIND = 15
_BEAT_KEY = struct.pack("=I", 0)
_PORT_KEY = struct.Struct("=IHH")  # port, protocol, address family
_U64 = struct.Struct("=Q")


def build_program(beat_fd: int, listeners_fd: int) -> bytes:
    """Return the program: if the beat is fresh and the port is stolen, assign our listener; else leave it to the kernel.

    Args:
        beat_fd: An array whose only value is the time of the last beat (CLOCK_MONOTONIC, nanoseconds).
        listeners_fd: A sockhash of listeners by port, protocol and family.
    """
    r = Register
    a = Assembler()
    a.move(r.R6, r.R1)
    a.store(Size.U32, r.FP, -4, 0)
    a.load_map(r.R1, beat_fd)
    a.move(r.R2, r.FP)
    a.add(r.R2, -4)
    a.call(_MAP_LOOKUP_ELEM)
    a.jump_if_zero(r.R0, "pass")
    a.load(Size.U64, r.R7, r.R0, 0)
    a.call(_KTIME_GET_NS)
    a.subtract(r.R0, r.R7)
    # A beat from the future wraps around and is stale as well.
    a.jump_if_above(r.R0, int(STALE_AFTER_S * 1e9), "pass")

    a.load(Size.U32, r.R1, r.R6, _LOCAL_PORT)
    a.store(Size.U32, r.FP, -16, r.R1)
    a.load(Size.U32, r.R1, r.R6, _PROTOCOL)
    a.store(Size.U16, r.FP, -12, r.R1)
    a.load(Size.U32, r.R1, r.R6, _FAMILY)
    a.store(Size.U16, r.FP, -10, r.R1)
    a.load_map(r.R1, listeners_fd)
    a.move(r.R2, r.FP)
    a.add(r.R2, -16)
    a.call(_MAP_LOOKUP_ELEM)
    a.jump_if_zero(r.R0, "pass")

    a.move(r.R7, r.R0)
    a.move(r.R1, r.R6)
    a.move(r.R2, r.R7)
    # Without the flag to replace: who attached before us and chose keeps what it chose.
    a.move(r.R3, 0)
    a.call(_SK_ASSIGN)
    a.move(r.R1, r.R7)
    a.call(_SK_RELEASE)
    a.label("pass")
    a.exit(_SK_PASS)
    return a.assemble()


class SkLookup:
    """A `Redirect`. The program is loaded at once, and attached from the first port on.

    Raises:
        OSError: bpf(2) was refused; see `explain`.
    """

    name = "BPF sk_lookup"

    def __init__(self) -> None:
        _raise_memlock_limit()
        self._listening: dict[int, list[socket.socket]] = {}
        self._descriptors = contextlib.ExitStack()
        with self._descriptors as undo:
            self._beat = bpf.Map(bpf.MAP_TYPE_ARRAY, 4, _U64.size, 1)
            undo.callback(self._beat.close)
            self._listeners = bpf.Map(bpf.MAP_TYPE_SOCKHASH, _PORT_KEY.size, _U64.size, 2 * MAX_PORTS)
            undo.callback(self._listeners.close)
            code = build_program(self._beat.fd, self._listeners.fd)
            self._program = bpf.load_program(_PROG_TYPE, _ATTACH_TYPE, code, name="inpod_steal", licence=_LICENCE)
            undo.callback(os.close, self._program)
            self._descriptors = undo.pop_all()
        self._is_attached = False

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
        if len(self._listening) >= MAX_PORTS:
            raise OSError(errno.ENOSPC, f"{MAX_PORTS} ports are stolen already")
        listeners: list[socket.socket] = []
        self._listening[port] = listeners
        try:
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                listener = _listen(family, host)
                if listener is not None:
                    listeners.append(listener)
                    self._listeners.set(_key(port, family), _U64.pack(listener.fileno()))
            if not listeners:
                raise OSError(errno.EAFNOSUPPORT, "the pod has no IP")
            self._attach()
        except BaseException:
            self.release(port)
            raise
        return listeners

    def release(self, port: int) -> None:
        """See `Redirect`."""
        for listener in self._listening.pop(port, ()):
            self._listeners.delete(_key(port, listener.family))
            listener.close()

    def beat(self) -> None:
        """See `Redirect`."""
        self._beat.set(_BEAT_KEY, _U64.pack(time.clock_gettime_ns(time.CLOCK_MONOTONIC)))

    def rest(self) -> None:
        """See `Redirect`."""
        self._beat.set(_BEAT_KEY, _U64.pack(0))

    def close(self) -> None:
        """See `Redirect`."""
        self._descriptors.close()
        for listeners in self._listening.values():
            for listener in listeners:
                listener.close()
        self._listening.clear()

    def _attach(self) -> None:
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
    needs = "stealing needs BPF sk_lookup"
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found[1]), int(found[2])) < _NEEDS_KERNEL:
        return f"{needs}, which came with Linux 5.9; this is {release}"
    code = errno.errorcode.get(error.errno or 0, str(error.errno))
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"{needs}: bpf(2) was refused with {code}; the agent lacks CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN) "
            "in the machine's first user namespace, or a seccomp profile forbids it"
        )
    return f"{needs}: bpf(2) failed with {code}: {error.strerror}"


def _listen(family: socket.AddressFamily, host: str) -> socket.socket | None:
    """Return a listener on some port; None where the kernel has no such IP version. Nobody is meant to call its address."""
    try:
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        # A network namespace may have its loopback device down.
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, 0))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _key(port: int, family: int) -> bytes:
    return _PORT_KEY.pack(port, socket.IPPROTO_TCP, family)


def _raise_memlock_limit() -> None:
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))
