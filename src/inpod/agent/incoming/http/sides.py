"""What stands around an exchange: the client, and the sides that answer its requests."""

from typing import Protocol

from inpod.agent.incoming.http.answers import AnswerReader
from inpod.agent.incoming.http.choice import Taker


class Side(Protocol):
    """A connection to the original, or a stream of a session.

    Attributes:
        taker: None for the original.
        answers: Reads what the side sends.
    """

    taker: Taker | None
    answers: AnswerReader

    def write(self, data: bytes) -> None:
        """Send."""

    def write_eof(self) -> None:
        """Say that no more comes."""

    def close(self) -> None:
        """End in good order, once all is sent; it is heard of no more."""

    def abort(self) -> None:
        """End at once, with a reset; it is heard of no more."""


class Outside(Protocol):
    """The client, and who opens sides."""

    def write(self, data: bytes) -> None:
        """Send to the client."""

    def write_eof(self) -> None:
        """Tell the client that no more comes; the other direction goes on."""

    def finish(self) -> None:
        """End the connection once all is sent. The exchange is told nothing more."""

    def reset(self) -> None:
        """End the connection at once, with a reset. The exchange is told nothing more."""

    def hold(self, is_held: bool) -> None:
        """Read no more from the client, or read on."""

    def open(self, taker: Taker | None) -> None:
        """Open a side; `Exchange.opened` or `Exchange.refused` is called later, never from within."""

    def set_limit(self, seconds: float | None) -> None:
        """Call `Exchange.limit_passed` so much later, instead of when it was set before; None: not at all."""


class Nobody:
    """The outside of an exchange whose client is gone: so the two do not keep each other until the collector comes."""

    def write(self, data: bytes) -> None:
        """See `Outside`."""

    def write_eof(self) -> None:
        """See `Outside`."""

    def finish(self) -> None:
        """See `Outside`."""

    def reset(self) -> None:
        """See `Outside`."""

    def hold(self, is_held: bool) -> None:
        """See `Outside`."""

    def open(self, taker: Taker | None) -> None:
        """See `Outside`."""

    def set_limit(self, seconds: float | None) -> None:
        """See `Outside`."""


NOBODY = Nobody()
