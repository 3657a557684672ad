"""A connection to a port of a pod: one websocket to the API server, and a socket pair at this end.

Protocol `v4.channel.k8s.io` for one port: each message begins with its channel, 0 for data and 1 for errors; the first
message of each has the port, u16 little-endian (source: kubelet's portforward/websocket.go). Ping and idle limits are the
tunnel's business.
"""

import asyncio
import logging
import socket
import struct
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from inpod.targets.kube.background import Background
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.refusals import explain, one_line, refusal, unreachable
from inpod.targets.kube.resolve import pods_path

log = logging.getLogger(__name__)

PROTOCOL = Subprotocol("v4.channel.k8s.io")
DATA, ERROR = 0, 1
MESSAGE = 64 * 1024
"""Most bytes of a message we send."""
MAX_MESSAGE = 1024 * 1024
"""Most bytes of a message we take; kubelet sends 32 KiB."""
OPEN_LIMIT_S = 10.0
CLOSE_LIMIT_S = 1.0


class PortForwardFailed(Exception):
    """The pod's side refused: the pod is gone, or nothing listens on the port."""


class PodGone(PortForwardFailed):
    """There is no such pod."""


class PortForward:
    """One open connection.

    Attributes:
        sock: This end of it; the caller's.
        error: What the pod's side said is wrong; "" while nothing is.
    """

    def __init__(self, websocket: ClientConnection, background: Background) -> None:
        self.error = ""
        self._websocket = websocket
        self.sock, self._far = socket.socketpair()
        for end in (self.sock, self._far):
            end.setblocking(False)
        self._pumps = background.start(self._pump())
        # Not in a `finally` of the task: it may be cancelled before it begins, or while it says goodbye.
        self._pumps.add_done_callback(lambda _: self._cut())

    @classmethod
    async def open(cls, cluster: Cluster, pod: str, port: int, background: Background) -> "PortForward":
        """Connect; the pumps run in `background` until either side closes.

        Raises:
            PortForwardFailed: The pod's side refused.
            UserError: A right is missing, or the API server does not answer.
        """
        websocket = await _handshake(cluster, f"{pods_path(cluster.namespace, pod)}/portforward", port)
        try:
            async with asyncio.timeout(OPEN_LIMIT_S):
                await _read_heads(websocket, port)
        except BaseException as error:
            # Not closed politely: whoever cancels us does not wait, and who has not answered will not.
            websocket.transport.abort()
            if isinstance(error, ConnectionClosed | TimeoutError):
                raise PortForwardFailed(one_line(str(error)) or "no answer") from error
            raise
        return cls(websocket, background)

    async def close(self) -> None:
        """Close both ends and end the pumps."""
        self.sock.close()
        self._pumps.cancel()
        await asyncio.wait([self._pumps])

    async def _pump(self) -> None:
        """Carry bytes until either side closes, then close the other."""
        try:
            async with asyncio.TaskGroup() as group:
                down = group.create_task(self._down())
                up = group.create_task(self._up())
                await asyncio.wait([down, up], return_when=asyncio.FIRST_COMPLETED)
                down.cancel()
                up.cancel()
        finally:
            # What the pod's side sees first, and what tells our reader: the polite closing takes a round trip.
            self._far.close()
            await self._websocket.close()

    def _cut(self) -> None:
        self._far.close()
        self._websocket.transport.abort()

    async def _down(self) -> None:
        """Websocket to socket. The library stops reading while the socket is full."""
        loop = asyncio.get_running_loop()
        try:
            async for message in self._websocket:
                if not isinstance(message, bytes) or not message:
                    continue
                if message[0] == DATA:
                    await loop.sock_sendall(self._far, memoryview(message)[1:])
                elif message[0] == ERROR:
                    self.error = one_line(message[1:].decode("utf-8", "replace"))
                    log.debug("port-forward: %s", self.error)
                    return
        except (ConnectionClosed, OSError) as error:
            log.debug("port-forward ended: %s", error)

    async def _up(self) -> None:
        """Socket to websocket; `send` waits while the network is slower."""
        loop = asyncio.get_running_loop()
        buffer = bytearray(MESSAGE)
        view = memoryview(buffer)
        buffer[0] = DATA
        try:
            while size := await loop.sock_recv_into(self._far, view[1:]):
                await self._websocket.send(bytes(view[: size + 1]))
        except (ConnectionClosed, OSError) as error:
            log.debug("port-forward ended: %s", error)


async def _handshake(cluster: Cluster, path: str, port: int) -> ClientConnection:
    has_renewed = False
    while True:
        login = cluster.login
        try:
            websocket = await connect(
                _url(cluster.server, path, port),
                subprotocols=[PROTOCOL],
                compression=None,
                open_timeout=OPEN_LIMIT_S,
                close_timeout=CLOSE_LIMIT_S,
                ping_interval=None,
                max_size=MAX_MESSAGE,
                **login.websocket_options(),
            )
            cluster.patience.answered()
            return websocket
        except InvalidStatus as error:
            if error.response.status_code == 401 and not has_renewed:
                await cluster.renew_login(login)
                has_renewed = True
                continue
            refused = refusal(error.response.status_code, bytes(error.response.body or b""), f"get {path}")
            if refused.code in (401, 403):
                raise explain(refused, cluster.server) from error
            failure = PodGone if refused.code == 404 else PortForwardFailed
            raise failure(refused.message or str(refused.code)) from error
        except (WebSocketException, InvalidHandshake, InvalidURI, OSError) as error:
            trouble = unreachable(error, cluster.server)
            if not cluster.patience.is_left:
                raise trouble from error
            await cluster.patience.rest(trouble)


async def _read_heads(websocket: ClientConnection, port: int) -> None:
    """Take the first message of each channel."""
    for _ in (DATA, ERROR):
        message = await websocket.recv(decode=False)
        if len(message) != 3 or struct.unpack("<xH", message)[0] != port:
            raise PortForwardFailed(f"unexpected first message ({len(message)} bytes)")


def _url(server: str, path: str, port: int) -> str:
    parts = urlsplit(server)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, f"ports={port}", ""))
