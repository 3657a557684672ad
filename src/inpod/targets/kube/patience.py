"""Makes calls again that the API server did not answer, while a start runs or is undone; at other times none.

One that is started anew, or the load balancer before it, is away for seconds, for which nobody wants to begin from the
beginning. What runs already has its own ways to try again (`lease`, the session's link).
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from inpod.errors import UserError

AGAIN_EVERY_S = 0.5

FIRST_ANSWER_LIMIT_S = 2.0
"""How long a server is asked that has never answered: more likely it is not there at all."""


class Patience:
    """Of one client with its server.

    Attributes:
        trouble: Why the last call was not answered; None when it was.
    """

    def __init__(self) -> None:
        self.trouble: UserError | None = None
        self._was_answered = False
        self._began = self._until = 0.0
        self._report: Callable[[str], None] = lambda what: None
        self._reported = ""

    @contextmanager
    def lasting(self, limit_s: float, report: Callable[[str], None] = lambda what: None) -> Iterator[None]:
        """Make calls again while the block runs, for so long at most; `report` is told of the trouble."""
        self._began = asyncio.get_running_loop().time()
        self._until = self._began + limit_s
        self._report = report
        try:
            yield
        finally:
            self._until = 0.0

    @property
    def is_left(self) -> bool:
        """Whether a call may be made again."""
        until = self._until if self._was_answered else min(self._until, self._began + FIRST_ANSWER_LIMIT_S)
        return asyncio.get_running_loop().time() < until

    def answered(self) -> None:
        """Take note that the server is there."""
        self._was_answered, self.trouble = True, None

    async def rest(self, trouble: UserError) -> None:
        """Wait a moment before a call is made again."""
        # Of one that is away each call has words of its own; of one that fails over some calls, others are answered.
        if self.trouble is None and trouble.message != self._reported:
            self._reported = trouble.message
            self._report(f"Asking again: {trouble.message}")
        self.trouble = trouble
        await asyncio.sleep(AGAIN_EVERY_S)
