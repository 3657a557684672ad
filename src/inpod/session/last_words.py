"""What the program said in its last moment: the kernel would deliver it, and so the session waits until it has arrived.

It waits as long as something moves, which over a slow link may be minutes, or until a signal says not to.
"""

import asyncio

from inpod.protocol import agent
from inpod.session.events import Events, Note
from inpod.session.relays import Relays
from inpod.session.signals import Signals
from inpod.tunnel.streams import StreamRefused, Tunnel

TELL_AFTER_S = 2.0
"""How long the user's prompt may be late without a word."""

SILENT_S = 15.0
"""An agent that waits for far ends says so several times a second; one that is silent for so long will not answer."""


async def have_arrive(relays: Relays, tunnel: Tunnel, events: Events, signals: Signals) -> None:
    """Wait until the far ends have all, and tell if they do not."""
    arriving = asyncio.ensure_future(_arrive(relays, tunnel))
    text = "The program has ended; what it sent last is still on its way (Ctrl-C leaves it)."
    telling = asyncio.get_running_loop().call_later(TELL_AFTER_S, lambda: events.emit(Note(text, "info")))
    signals.call(arriving.cancel)
    try:
        await asyncio.wait([arriving])
    finally:
        telling.cancel()
        arriving.cancel()
    if arriving.cancelled() or not arriving.result():
        events.emit(Note("Not all that the program sent in the end was taken; the rest is lost."))


async def _arrive(relays: Relays, tunnel: Tunnel) -> bool:
    """Return whether all arrived; who does not know, as the link is lost, has nothing to tell."""
    is_sent = await relays.finish()
    clock = asyncio.get_running_loop().time
    try:
        # How long altogether, the agent knows.
        async with asyncio.timeout(SILENT_S) as limit:
            await tunnel.fetch_by(agent.encode(agent.Finish()), lambda _: limit.reschedule(clock() + SILENT_S))
    except TimeoutError:
        return False
    except StreamRefused as refused:
        return is_sent and not refused.payload
    return is_sent
