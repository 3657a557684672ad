"""First program of an agent's container: lets in who has the token, and runs the code that comes with it.

The container's command is `python3 -c <this file> SHA256-OF-TOKEN CONTAINER-ID PORT`, so this stands alone, and old versions
of Python can read it too, to say that they are too old. A client sends a line with the token, a line with a size, and that
many bytes of a zip; it gets a line back: "ready" with the countersign, and the connection is the agent's, or what is wrong.
The countersign is in the environment, where the target's processes, which may listen on PORT before us, cannot read it.
Before a client says the token it may ask, on a connection for that alone: a line with "who" and a word of its own is answered
by a line that only who knows the countersign can make. From then on PORT is ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import importlib
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn

COUNTERSIGN = "INPOD_COUNTERSIGN"
WHO = b"who "
MAX_TOKEN = 128
MAX_CODE = 16 * 1024 * 1024

# Seconds. Strangers may reach the port (who can forward ports to this pod): a slow one keeps nobody out.
TOKEN_LIMIT = 5.0
CODE_LIMIT = 30.0
NOBODY_LIMIT = 60.0
MAX_STRANGERS = 64


class Stranger:
    """A connection that has not presented the token yet."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.line = b""
        self.until = time.monotonic() + TOKEN_LIMIT

    def read_on(self) -> bool:
        """Read what came of the line, and not a byte after it; False when there will be no more."""
        try:
            seen = self.sock.recv(MAX_TOKEN + 1 - len(self.line), socket.MSG_PEEK)
            self.line += self.sock.recv(seen.find(b"\n") + 1 or len(seen)) if seen else b""
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(seen) and not self.line.endswith(b"\n") and len(self.line) <= MAX_TOKEN

    def is_known(self, token_sha256: str) -> bool:
        """Compare in a time that tells nothing."""
        token = self.line[:-1] if self.line.endswith(b"\n") else b""
        return hmac.compare_digest(hashlib.sha256(token).hexdigest(), token_sha256)

    def tell(self, countersign: str) -> None:
        """Answer one that asks who this is."""
        if self.line.startswith(WHO) and self.line.endswith(b"\n"):
            with contextlib.suppress(OSError):
                self.sock.send(proof(countersign, self.line[len(WHO) : -1]) + b"\n")


def proof(countersign: str, word: bytes) -> bytes:
    """Return what only who knows the countersign can say to a word."""
    return hmac.new(countersign.encode(), word, hashlib.sha256).hexdigest().encode()


def admit(listener: socket.socket, token_sha256: str, countersign: str, give_up: float) -> socket.socket | None:
    """Return a connection that presented the token; None when there is none until the time `give_up`."""
    strangers: dict[int, Stranger] = {}
    try:
        while time.monotonic() < give_up:
            readable, _, _ = select.select([listener.fileno(), *strangers], [], [], 0.5)
            for fd in readable:
                if fd == listener.fileno():
                    stranger = Stranger(listener.accept()[0])
                    strangers[stranger.sock.fileno()] = stranger
                elif not strangers[fd].read_on():
                    stranger = strangers.pop(fd)
                    if stranger.is_known(token_sha256):
                        return stranger.sock
                    stranger.tell(countersign)
                    stranger.sock.close()
            late = [fd for fd, each in strangers.items() if time.monotonic() > each.until]
            for fd in late:
                strangers.pop(fd).sock.close()
            while len(strangers) > MAX_STRANGERS:
                strangers.pop(next(iter(strangers))).sock.close()
        return None
    finally:
        for each in strangers.values():
            each.sock.close()


def receive_code(sock: socket.socket) -> bytes | None:
    """Return the zip; None when it does not come whole and in time."""
    until = time.monotonic() + CODE_LIMIT

    def receive(limit: int) -> bytes:
        sock.settimeout(max(0.001, until - time.monotonic()))
        data = sock.recv(limit)
        if not data:
            raise EOFError
        return data

    try:
        line = b""
        while not line.endswith(b"\n"):
            line += receive(1)
            if len(line) > 16:
                return None
        missing = int(line)
        if not 0 < missing <= MAX_CODE:
            return None
        parts = []
        while missing:
            parts.append(receive(min(missing, 65536)))
            missing -= len(parts[-1])
    except (OSError, EOFError, ValueError):
        return None
    sock.settimeout(None)
    return b"".join(parts)


def load(code: bytes) -> Callable[..., NoReturn]:
    """Make `inpod` importable out of the zip; return the agent's entry. Its file is memory: the container's root is not writable."""
    if sys.version_info < (3, 11):  # noqa: UP036  # the image's, not ours
        raise RuntimeError(f"the image has Python {sys.version.split()[0]}, and 3.11 is needed")
    holder = os.memfd_create("inpod")
    os.truncate(holder, len(code))
    os.pwrite(holder, code, 0)
    sys.path.insert(0, f"/proc/self/fd/{holder}")
    return importlib.import_module("inpod.agent.main").run_listening  # type: ignore[no-any-return]  # of the zip


def main(token_sha256: str, container_id: str, port: str) -> None:
    """Serve until there is no session."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", int(port)))
        listener.listen(MAX_STRANGERS)
    except OSError as error:
        sys.exit(f"inpod: port {port}: {error.strerror}")
    give_up = time.monotonic() + NOBODY_LIMIT
    countersign = os.environ.get(COUNTERSIGN, "")
    while True:
        sock = admit(listener, token_sha256, countersign, give_up)
        if sock is None:
            sys.exit("inpod: nobody came with the token")
        code = receive_code(sock)
        if code is None:
            sock.close()
            continue
        try:
            run_listening = load(code)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            sock.sendall(" ".join(reason.split()).encode() + b"\n")
            sys.exit(f"inpod: {reason}")
        sock.sendall(f"ready {countersign}\n".encode())
        run_listening(listener, token_sha256, countersign, first=sock, container_id=container_id)


if __name__ == "__main__":
    main(*sys.argv[1:4])
