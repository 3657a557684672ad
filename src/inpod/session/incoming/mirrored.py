"""A mirrored connection to the program: what it answers is thrown away, for the original answers.

In HTTP/2 answers also say how much a program takes. So those of a connection that begins as such go to the agent; until its
client speaks they wait.
"""

from collections.abc import Callable

from inpod.protocol.agent import PREFACE
from inpod.tunnel.relay import Bridge
from inpod.tunnel.stream import Stream

MAX_HELD = 16 * 1024
"""Bytes of an answer to nothing yet. A server of HTTP/2 has few to say before it hears of a client (RFC 9113 section 3.4)."""


class Mirrored(Bridge):
    """Towards the program all passes, from it only its end, or all."""

    __slots__ = ("_has_begun", "_held", "_wants_answers")

    def __init__(self, stream: Stream, on_end: Callable[[], None]) -> None:
        super().__init__(stream, on_end)
        self._has_begun = False
        self._wants_answers = False
        self._held: list[bytes] | None = []  # None: nothing is kept

    def data_received(self, data: bytes) -> None:
        """Pass an answer on, keep it, or throw it away."""
        if self._wants_answers:
            super().data_received(data)
        elif self._held is not None:
            self._held.append(data)
            if sum(map(len, self._held)) > MAX_HELD:
                self._held = None

    def data(self, data: bytes) -> None:
        """Pass on what the client said; the first of it says whether answers are wanted."""
        if not self._has_begun:
            self._has_begun = True
            held, self._held = self._held, None
            if held is not None and data.startswith(PREFACE):
                self._wants_answers = True
                for each in held:
                    super().data_received(each)
        super().data(data)

    def eof(self) -> None:
        """Say no more, once all is said; nobody waits for the answer."""
        if not self._wants_answers:
            self._stream.write_eof()
        super().eof()
