"""Unix sockets of the program, of streams or of messages in order, that connect to one of the pod.

The program's own socket is connected here, to a listener that lives for that moment: a connection belongs to the socket,
whoever has a descriptor of it. So the program needs no right to our folder.
"""

import errno
import itertools
import os
import re
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from inpod.protocol import agent
from inpod.protocol.layer import Unix, encode_reply
from inpod.protocol.listing import path_text
from inpod.session.relays import Relays
from inpod.tunnel.streams import StreamRefused, Tunnel

NOT_OURS = encode_reply(-1)


class UnixStreams:
    """Answers UNIX requests and carries the connections."""

    def __init__(self, tunnel: Callable[[], Tunnel], folder: Path, patterns: Sequence[str], relays: Relays) -> None:
        self._tunnel = tunnel
        self._folder = folder
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._relays = relays
        self._numbers = itertools.count()

    async def connect(self, request: Unix, fd: int) -> bytes:
        """Return the reply, once the pod's socket has taken the connection or refused it."""
        if fd < 0:
            return encode_reply(errno.EBADF)
        with socket.socket(fileno=fd) as program:
            if not any(pattern.search(os.fsdecode(request.path)) for pattern in self._patterns):
                return NOT_OURS
            keeps_messages = program.type == socket.SOCK_SEQPACKET
            question = agent.ConnectUnix(path_text(request.path), keeps_messages)
            stream = self._tunnel().open(agent.encode(question))
            try:
                await stream.accepted()
                sock = self._join(program)
            except StreamRefused as refused:
                return encode_reply(agent.errno_of(refused.payload, errno.ENETUNREACH))
            except BaseException as error:
                stream.refuse()
                if not isinstance(error, OSError):
                    raise
                return encode_reply(error.errno or errno.EIO)
            self._relays.join(stream, sock)
            return encode_reply(0)

    def _join(self, program: socket.socket) -> socket.socket:
        """Return our end of a connection of the program's socket.

        Raises:
            OSError: It cannot be connected: it is already.
        """
        path = self._folder / f"unix-{next(self._numbers)}"
        with socket.socket(socket.AF_UNIX, program.type) as listener:
            listener.bind(str(path))
            try:
                listener.listen(1)
                program.connect(str(path))
                return listener.accept()[0]
            finally:
                path.unlink()
