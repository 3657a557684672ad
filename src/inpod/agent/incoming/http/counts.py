"""What became of the requests of a filtered port, for the user to see."""

from collections.abc import Callable
from dataclasses import dataclass

from inpod.agent.incoming.http.choice import Head, Taker


@dataclass(slots=True)
class Counts:
    """Of one port, over all its connections.

    Attributes:
        seen: Requests read.
        matched: Requests that a session got.
        passed: Requests that the original got.
        whole: Connections that were passed to the original whole from some byte on.
        on_passed: Called with each request that the original got, and what was read of its body (None: not read).
        on_whole: Called with the reason why a connection is passed whole.
    """

    seen: int = 0
    matched: int = 0
    passed: int = 0
    whole: int = 0
    on_passed: Callable[[Head, bytes | None], None] | None = None
    on_whole: Callable[[str], None] | None = None

    def note(self, head: Head, body: bytes | None, taker: Taker | None) -> None:
        """Count a request that is sent to a session, or to the original (None)."""
        if taker is not None:
            self.matched += 1
            return
        self.passed += 1
        if self.on_passed is not None:
            self.on_passed(head, body)

    def note_whole(self, reason: str) -> None:
        """Count a connection that is passed whole from here on."""
        self.whole += 1
        if self.on_whole is not None:
            self.on_whole(reason)
