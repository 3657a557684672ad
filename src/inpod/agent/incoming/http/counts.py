"""What became of the requests of a filtered port, for the user to see."""

from collections.abc import Callable
from dataclasses import dataclass

from inpod.agent.incoming.http.choice import Taker


@dataclass(slots=True)
class Counts:
    """Of one port, over all its connections.

    Attributes:
        seen: Requests read.
        matched: Requests that a session got.
        passed: Requests that the original got.
        whole: Connections that were passed to the original whole from some byte on.
        on_whole: Called with the reason why a connection is passed whole.
    """

    seen: int = 0
    matched: int = 0
    passed: int = 0
    whole: int = 0
    on_whole: Callable[[str], None] | None = None

    def note(self, taker: Taker | None) -> None:
        """Count a request that is sent to a session, or to the original (None)."""
        if taker is None:
            self.passed += 1
        else:
            self.matched += 1

    def note_whole(self, reason: str) -> None:
        """Count a connection that is passed whole from here on."""
        self.whole += 1
        if self.on_whole is not None:
            self.on_whole(reason)
