"""How two agents beside one target know each other: each has the right to divert the target's connections.

The names by which agents meet are open to all processes in the target's network, and no other sign tells them apart: an agent
may run as the target's user, in the target's pid namespace, or in one that the other agent cannot see. But whoever has
CAP_NET_ADMIN over a network can divert its connections without asking; so that is what is proven, and nothing is lost.

The kernel proves it: of netlink sockets of most protocols only those with that capability may send to another one
(netlink_sendmsg in net/netlink/af_netlink.c), while everybody may receive. An address (portid) belongs to one socket.

    guest -- netlink --> host     a secret of the guest's: the host knows that the sender is an agent
    guest <-- netlink -- host     a secret of the host's: the guest knows it of the host
    guest ---- unix ---> host     the host's secret: this connection is of the agent that it was sent to
    guest <--- unix ---- host     the guest's secret, likewise
"""

import asyncio
import errno
import secrets
import socket
from typing import Literal

from inpod.protocol.agent import IpProtocol

_SECRET_BYTES = 16

Role = Literal["steal", "stand-in"]
"""Of an agent for a port: its host, or the guest that does the host's work while that stands still (`hold`)."""

_PORTIDS = 0x4950_0000
"""Beyond process ids, which the kernel gives to sockets that ask for no portid of their own."""

_NETLINK_ROUTE = 0
"""Every kernel has it, and no word of these sockets concerns it."""


class Prover:
    """Proves the host of a port, or its stand-in, and its guests to each other."""

    def __init__(self, port: int, protocol: IpProtocol, role: Role) -> None:
        """Begin to answer.

        Raises:
            OSError: EADDRINUSE: somebody else does.
        """
        self._expected: dict[bytes, bytes] = {}
        self._sock = _netlink(_portid(port, protocol, role))
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._answer)

    def close(self) -> None:
        """Answer nobody any more."""
        asyncio.get_running_loop().remove_reader(self._sock.fileno())
        self._sock.close()

    async def admit(self, sock: socket.socket) -> bool:
        """Return whether a guest is at the other end of a non-blocking unix socket; call it in a time limit."""
        guests = self._expected.pop(await _read(sock), None)
        if guests is None:
            return False
        await asyncio.get_running_loop().sock_sendall(sock, guests)
        return True

    def _answer(self) -> None:
        try:
            guests, (portid, _) = self._sock.recvfrom(_SECRET_BYTES)
            secret = secrets.token_bytes(_SECRET_BYTES)
            self._sock.sendto(secret, (portid, 0))
        except OSError:
            return  # who asked went away
        self._expected[secret] = guests


async def introduce(sock: socket.socket, port: int, protocol: IpProtocol, role: Role) -> None:
    """Prove the host of a port and this agent to each other; call it in a time limit.

    Args:
        sock: Non-blocking, connected to who may have that role.

    Raises:
        PermissionError: It is no agent, or this one lacks CAP_NET_ADMIN.
        ConnectionResetError: It went away.
    """
    loop = asyncio.get_running_loop()
    own = secrets.token_bytes(_SECRET_BYTES)
    with _netlink() as proof:
        # From here on the kernel lets nobody else send to this socket.
        proof.connect((_portid(port, protocol, role), 0))
        try:
            proof.send(own)
        except ConnectionRefusedError:
            # A host that goes frees this address and the connection; else there never was one.
            raise _gone() if _is_closed(sock) else _no_agent(port) from None
        secret = await loop.sock_recv(proof, _SECRET_BYTES)
    await loop.sock_sendall(sock, secret)
    answer = await _read(sock)
    if answer != own:
        raise _no_agent(port) if answer else _gone()


def _netlink(portid: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_ROUTE)
    try:
        sock.bind((portid, 0))
    except OSError:
        sock.close()
        raise
    return sock


def _portid(port: int, protocol: IpProtocol, role: Role) -> int:
    return _PORTIDS + (0x1_0000 if protocol == "udp" else 0) + (0x2_0000 if role == "stand-in" else 0) + port


async def _read(sock: socket.socket) -> bytes:
    """Return a secret, or less when the other end closes before; reads not a byte more, for the tunnel follows."""
    loop = asyncio.get_running_loop()
    read = b""
    while len(read) < _SECRET_BYTES and (more := await loop.sock_recv(sock, _SECRET_BYTES - len(read))):
        read += more
    return read


def _is_closed(sock: socket.socket) -> bool:
    try:
        return not sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _gone() -> OSError:
    return ConnectionResetError(errno.ECONNRESET, "the agent that has the port went away")


def _no_agent(port: int) -> OSError:
    text = f"something that is no agent holds the name for port {port} of this pod"
    return PermissionError(errno.EACCES, text)
