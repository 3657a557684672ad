"""The loop that commands run in: uvloop, but for a complaint that is none; and the log of what goes wrong in it."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from inpod.cli.log import told
from inpod.cli.output import say

T = TypeVar("T")


def run(command: Coroutine[Any, Any, T], warn: Callable[[str], None] = lambda text: say(f"inpod: {text}")) -> T:
    """Run `command` to its end; return its result.

    Args:
        warn: Called with what is written to the log meanwhile; see `told`.
    """
    import uvloop

    # What is loaded by now is never garbage, and is much where a Kubernetes client is: each look would stop all connections.
    gc.freeze()
    gc.enable()

    async def run_quietly() -> T:
        asyncio.get_running_loop().set_exception_handler(_complain)
        return await command

    with told(warn):
        return uvloop.run(run_quietly())


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log a fault, as asyncio does.

    Not that a TLS connection, closed because its handshake was cancelled (Ctrl-C), is read once more by uvloop (0.23): it
    finds its own transport closed, and nobody has a use for what it read.
    """
    is_read_once_more = isinstance(context.get("exception"), RuntimeError) and "SSL protocol" in context["message"]
    if not is_read_once_more:
        loop.default_exception_handler(context)
