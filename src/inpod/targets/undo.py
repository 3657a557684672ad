"""Undoes steps, last first, and does not hide why."""

from contextlib import AsyncExitStack
from types import TracebackType

from inpod.errors import UserError


class Undo(AsyncExitStack[None]):
    """What ends the undoing early has what it began with as its context.

    Python sees to that for what a callback raises by itself; a cancellation is thrown in, and has none.
    """

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo; nothing is swallowed."""
        try:
            await super().__aexit__(kind, error, trace)
        except BaseException as later:
            if later is not error and later.__context__ is None:
                later.__context__ = error
            raise


def failure_before(error: BaseException | None) -> UserError | None:
    """Return what a cancellation hides: the failure that was being undone when it came."""
    while error is not None and not isinstance(error, UserError):
        error = error.__context__
    return error
