"""How an agent in a cluster gets its code: through the connection that it will serve, from the installed package."""

import asyncio
import functools
import hashlib
import hmac
import importlib.resources
import io
import secrets
import socket
import zipfile
from dataclasses import dataclass
from importlib.resources.abc import Traversable

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.boot import WHO, proof
from inpod.targets.kube.refusals import one_line

READY_LIMIT_S = 15.0
"""Longest wait from the first byte of code to "ready"."""

MAX_ANSWER = 4096

_PARTS = ("agent", "dns", "protocol", "tunnel")
_EPOCH = (1980, 1, 1, 0, 0, 0)


class NotReady(Exception):
    """The other end closed: the container's program does not listen yet, or does not know the token."""


@dataclass(frozen=True, slots=True)
class Keys:
    """By what one session and one agent know each other.

    Attributes:
        token: The session's, of which the container knows the hash only.
        countersign: The agent's answer. Who may read pods may know it; who is in the pod may not.
    """

    token: str
    countersign: str

    @classmethod
    def new(cls) -> "Keys":
        """Return keys that nobody else has."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def command(token: str, container_id: str, port: int) -> list[str]:
    """Return the container's command, which holds only the token's hash."""
    boot = importlib.resources.files(__package__).joinpath("boot.py").read_text()
    # -I: no variable of the image and no file beside it changes what runs. -u: what it says is in the log at once.
    digest = hashlib.sha256(token.encode()).hexdigest()
    return ["python3", "-I", "-u", "-c", boot, digest, container_id, str(port)]


@functools.cache
def code() -> bytes:
    """Return a zip of the agent and what it imports; the same package always makes the same bytes."""
    root = importlib.resources.files("inpod")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, root.joinpath("__init__.py"), "inpod/__init__.py")
        for part in _PARTS:
            _add_folder(archive, root.joinpath(part), f"inpod/{part}")
    return buffer.getvalue()


async def recognise(sock: socket.socket, keys: Keys) -> None:
    """See that it is `boot` that listens, over a connection for that alone. Where others could, nobody else does afterwards.

    Raises:
        NotReady: Nobody listens.
        UserError: It is not the agent that answers.
    """
    word = secrets.token_urlsafe(32).encode()
    answer = await _ask(sock, WHO + word + b"\n")
    if not hmac.compare_digest(answer, proof(keys.countersign, word)):
        raise _no_agent()


async def send_code(sock: socket.socket, keys: Keys) -> None:
    """Send token and code over a connection to `boot`, and wait until the agent serves it.

    Raises:
        NotReady: Nobody listens, or the token is refused.
        UserError: The code cannot run there, or it is not the agent that answers.
    """
    archive = code()
    await _begin(sock, keys, f"{len(archive)}\n".encode() + archive)


async def present_token(sock: socket.socket, keys: Keys) -> None:
    """Begin another connection to an agent that serves; raises as `send_code`."""
    await _begin(sock, keys)


async def _begin(sock: socket.socket, keys: Keys, more: bytes = b"") -> None:
    answer = (await _ask(sock, keys.token.encode() + b"\n" + more)).decode("utf-8", "replace")
    said, _, countersign = answer.partition(" ")
    if said != "ready":
        raise UserError(
            f"The agent cannot run in its image: {one_line(answer)}",
            hint="Choose an image with Python 3.11 or later: --agent-image.",
            exit_code=ExitCode.AGENT_START,
        )
    if not hmac.compare_digest(countersign.encode(), keys.countersign.encode()):
        raise _no_agent()


async def _ask(sock: socket.socket, data: bytes) -> bytes:
    """Send `data`; return the line that answers it, without its end."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(READY_LIMIT_S):
            await loop.sock_sendall(sock, data)
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < MAX_ANSWER:
                # Not a byte more: the tunnel follows.
                if not (byte := await loop.sock_recv(sock, 1)):
                    raise NotReady
                answer += byte
    except OSError as error:
        # TimeoutError too: where nobody answers, the pod's state may say why.
        raise NotReady from error
    return answer.removesuffix(b"\n")


def _no_agent() -> UserError:
    return UserError(
        "It is not the agent that answers at its port: some other program of the pod listens there.",
        hint="Look at what runs in the pod; a Job's agent (without -e) has a port of its own.",
        exit_code=ExitCode.AGENT_START,
    )


def _add_folder(archive: zipfile.ZipFile, folder: Traversable, name: str) -> None:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            _add_folder(archive, entry, f"{name}/{entry.name}")
        elif entry.name.endswith(".py"):
            _add(archive, entry, f"{name}/{entry.name}")


def _add(archive: zipfile.ZipFile, file: Traversable, name: str) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), file.read_bytes(), zipfile.ZIP_DEFLATED)
