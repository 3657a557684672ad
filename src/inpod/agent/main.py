"""Starts the agent: joins the target, then serves sessions until there is none."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, NoReturn

from inpod.agent.dispatch import Abilities, serve
from inpod.agent.target import Target, TargetError, enter

if TYPE_CHECKING:
    from inpod.agent.door import Door

IDLE_LIMIT_S = 30.0
"""How long an agent in a cluster stays without hearing from a session."""

END_LIMIT_S = 5
"""Longest that the end of a link takes once it is lost."""

_USAGE = "usage: python -m inpod.agent --fd N [--netns PATH] [--pid PID]"


def main(arguments: list[str]) -> NoReturn:
    """Serve the session at the other end of an inherited socket: the agent of a direct target."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    try:
        if len(arguments) % 2 or not options.keys() <= {"--fd", "--pid", "--netns"}:
            raise ValueError("unknown option")
        sock = socket.socket(fileno=int(options["--fd"]))
        pid = int(options["--pid"]) if "--pid" in options else None
    except (KeyError, ValueError, OSError) as error:
        print(f"{_USAGE}\n{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        os._exit(2)
    run(sock, pid, options.get("--netns"))


def run(
    sock: socket.socket, pid: int | None = None, netns: str | None = None, container_id: str | None = None
) -> NoReturn:
    """Serve the session at the other end of `sock`, then end the process.

    A target that cannot be reached is said to the session, as the answer to its hello.
    """
    abilities = _abilities(pid, netns, container_id)
    _finish(serve(sock, abilities, on_lost=_end_soon))


def run_listening(
    listener: socket.socket,
    token_sha256: str,
    countersign: str,
    *,
    first: socket.socket | None = None,
    pid: int | None = None,
    netns: str | None = None,
    container_id: str | None = None,
) -> NoReturn:
    """Serve the sessions that come to `listener` with the token, one at a time; end the process after `IDLE_LIMIT_S`.

    A session that comes back takes the place of the link it lost, also when that end was not noticed here. Once one has said
    its last, nobody comes back.

    Args:
        token_sha256, countersign: See `door`; the hash is in hexadecimal.
        first: A session that is connected, has presented the token already and knows that this is the agent.
    """
    from inpod.agent.door import Door  # hashlib loads OpenSSL, which direct targets need not wait for

    abilities = _abilities(pid, netns, container_id)
    _finish(_serve_listening(Door(listener, token_sha256, countersign), first, abilities))


async def _serve_listening(door: "Door", first: socket.socket | None, abilities: Abilities) -> None:
    finished = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        accepting = group.create_task(door.run())
        following = group.create_task(door.next())
        sock = first
        while True:
            if sock is not None:
                link = group.create_task(serve(sock, abilities, silence_limit_s=IDLE_LIMIT_S, on_finish=finished.set))
                await asyncio.wait([link, following], return_when=asyncio.FIRST_COMPLETED)
                link.cancel()
                # The ports it held are released before the next one asks for them.
                await asyncio.wait([link], timeout=END_LIMIT_S)
            if not finished.is_set():
                await asyncio.wait([following], timeout=IDLE_LIMIT_S)
            if not following.done():
                break
            sock = following.result()
            following = group.create_task(door.next())
        accepting.cancel()
        following.cancel()


def _abilities(pid: int | None, netns: str | None, container_id: str | None) -> Abilities:
    """Join the target, and make what reads of it. Before the loop and any thread: they inherit the namespaces."""
    _raise_descriptor_limit()
    target: Target | TargetError
    try:
        target = enter(pid, netns, container_id)
    except TargetError as error:
        target = error
    return Abilities(target)


def _finish(serving: Coroutine[None, None, None]) -> NoReturn:
    """Run `serving` and end the process without waiting: a worker thread may hang in a file system that is gone."""
    status = 1
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serving)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


def _end_soon() -> None:
    """Let SIGALRM, which nobody handles, end this process should tearing down hang."""
    signal.alarm(END_LIMIT_S)


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


def _raise_descriptor_limit() -> None:
    """Allow as many descriptors as may be: each connection of the program needs one."""
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
