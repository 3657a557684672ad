"""What stands around the exchange of an HTTP/2 connection."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from inpod.agent.incoming.http.h2_side import Side


class Timer(Protocol):
    """Something that was asked for a later time."""

    def cancel(self) -> None:
        """Ask for it no more."""


class Outside(Protocol):
    """The client's connection, and who opens sides."""

    def write(self, data: bytes) -> None:
        """Send to the client."""

    def finish(self) -> None:
        """End the client's connection once all is sent. May be called again."""

    def open(self, side: "Side") -> None:
        """Open a side; `Routing.opened` or `Routing.refused` is called later, never from within."""

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back after a while."""

    def now(self) -> float:
        """Return the time in seconds, of a clock that does not go back."""
