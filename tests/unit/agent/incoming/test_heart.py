import asyncio
import time
from typing import cast

from inpod.agent.incoming.heart import LATE_AFTER_S, Heart
from inpod.tunnel.streams import Tunnel

STOP_S = LATE_AFTER_S + 0.1


class Link:
    """A tunnel that hears all the time; at one look at it the process stands still."""

    is_stopping = False

    @property
    def last_heard(self) -> float:
        if self.is_stopping:
            self.is_stopping = False
            time.sleep(STOP_S)
        return asyncio.get_running_loop().time()


def test_stop_between_looking_and_beating_makes_the_beat_old_and_the_next_one_late() -> None:
    link = Link()
    beats: list[tuple[bool, float]] = []

    async def story() -> None:
        done = asyncio.Event()

        def beat(is_late: bool, now_ns: int) -> None:
            beats.append((is_late, (time.clock_gettime_ns(time.CLOCK_MONOTONIC) - now_ns) / 1e9))
            link.is_stopping = len(beats) == 1
            if len(beats) == 3:
                done.set()

        heart = Heart(cast("Tunnel", link), beat, lambda: None)
        heart.start()
        async with asyncio.timeout(20):
            await done.wait()
        heart.stop()

    asyncio.run(story())
    (_, age_s), (is_late, _) = beats[1:]
    assert age_s >= STOP_S
    assert is_late
