"""Knocks at an address, such as a Service's, and sees whether that arrives at a port of the target.

A knock is the first packet of a connection (SYN). It is known by its maximum segment size, an odd one: translation of
addresses, which changes all else that could name it, leaves that alone. Its socket is deaf: a filter drops what is
answered, so the connection is never made, and no program accepts it, wherever it arrives. Once the socket is closed the
kernel answers whoever waits for the rest with a reset.

It is sent from the agent's own network, as by any other pod, and from the target's: a network policy may keep the one
out; a mesh in the pod, or a node that does not lead a pod back to itself, the other.
"""

import asyncio
import contextlib
import errno
import os
import random
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from inpod.agent import namespaces
from inpod.agent.addresses import OwnAddresses
from inpod.agent.incoming.classic_bpf import (
    EVERYTHING,
    LD_BYTE,
    LD_BYTE_X,
    LD_HALF_X,
    LD_WORD_X,
    LDX_IMMEDIATE,
    LDX_IPV4_HEADER_BYTES,
    NOTHING,
    RETURN,
    Program,
    attach,
    bind_to_all_devices,
)
from inpod.agent.incoming.mirror.packets import endpoints, parse
from inpod.protocol.agent import Address

ARRIVES_WITHIN_S = 2.5
"""Long enough for the kernel to send it again, which it does after a second."""

TCP_HEADER_BYTES = 20
"""Without options. Linux writes the maximum segment size before all others."""

KNOCK = 0x0204_0000 | 640
KNOCK_BITS = 5
"""The option of a knock as a number: kind 2, length 4, and a size out of 640 to 671 (RFC 9293, 3.2). Real ones are
larger, or 536. By the low bits agents tell their knocks apart; mirroring leaves all of them out."""

_MAX_PACKET = 256
_TCP = 6
_SYN, _ACK = 2, 16


async def arrives(to: Address, port: int, addresses: Collection[str] = (), home: int | None = None) -> bool:
    """Return whether a connection to `to`, which may be translated on the way, arrives at `port` of the target.

    Args:
        addresses: The target's own; empty: all of this network namespace.
        home: Descriptor of the agent's own network namespace, where that is another.

    Raises:
        OSError: Nobody knows: packets cannot be watched (CAP_NET_RAW), none can be sent, or none from another network
            than the target's.
    """
    tag = KNOCK | random.getrandbits(KNOCK_BITS)  # nobody gains by guessing it
    own = OwnAddresses(addresses)
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as undo:
        watch = undo.enter_context(_watch(port, tag))
        sent = [_send(to, tag, netns, undo) for netns in {home, None}]
        if not any(sent):
            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ARRIVES_WITHIN_S):
                while True:
                    packet = await loop.sock_recv(watch, _MAX_PACKET)
                    segment = parse(packet, 0, len(packet))
                    # A node also sees what it passes on to its pods.
                    if segment is not None and own.has(endpoints(segment.flow)[1].ip, loop.time()):
                        return True
    if home is None:
        # A node need not lead a pod back to itself, so this says nothing of what others send.
        raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    return False


def _watch(port: int, tag: int) -> socket.socket:
    """Return a packet socket that gets knocks at `port`."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    try:
        attach(sock, _filter(port, tag))
        bind_to_all_devices(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _send(to: Address, tag: int, netns: int | None, undo: contextlib.ExitStack) -> bool:
    """Knock from a network namespace, None for this one, until `undo`; return whether that could be."""
    family = socket.AF_INET6 if ":" in to.ip else socket.AF_INET
    try:
        sock = undo.enter_context(_socket_in(netns, family))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, tag & 0xFFFF)
        attach(sock, NOTHING)
        return sock.connect_ex((to.ip, to.port)) in (0, errno.EINPROGRESS)
    except OSError:
        return False


def _socket_in(netns: int | None, family: socket.AddressFamily) -> socket.socket:
    def make() -> socket.socket:
        if netns is not None:
            namespaces.setns(netns, namespaces.CLONE_NEWNET)
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    # In a thread of its own, which ends in that namespace.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def _filter(port: int, tag: int) -> bytes:
    p = Program()
    p.begin_at_ip(ipv6="ipv6", otherwise="no")
    p.do(LD_BYTE, 9)
    p.unless(_TCP, "no")
    p.do(LDX_IPV4_HEADER_BYTES, 0)
    p.jump("tcp")
    p.label("ipv6")
    p.do(LD_BYTE, 6)
    p.unless(_TCP, "no")
    p.do(LDX_IMMEDIATE, 40)
    p.label("tcp")
    p.do(LD_HALF_X, 2)
    p.unless(port, "no")
    p.do(LD_BYTE_X, 13)
    p.when_set(_ACK, "no")
    p.when_set(_SYN, "syn")
    p.jump("no")
    p.label("syn")
    p.do(LD_WORD_X, TCP_HEADER_BYTES)
    p.unless(tag, "no")
    p.do(RETURN, EVERYTHING)
    p.label("no")
    p.do(RETURN, 0)
    return p.assemble()
