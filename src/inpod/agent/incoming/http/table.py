"""Walks the table of a regular expression that the session compiled (native/filters): linear in the text, whatever it says."""

from array import array
from collections.abc import Mapping

MAX_ENTRIES = 1 << 18
"""Entries of a table, two bytes each; the session makes none larger."""

_DEAD, _MATCHED = 0, 1


class Table:
    """A question to a text: does it have a match anywhere?

    Attributes:
        literals: In every text that matches is one of these, in lower case if `ignores_case`; empty: nothing is known.
    """

    def __init__(self, raw: object, *, ignores_case: bool) -> None:
        """Take a table apart.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(raw, Mapping):
            raise ValueError("a table is an object")
        try:
            self._classes = bytes.fromhex(raw["classes"])
            count, start = int(raw["count"]), int(raw["start"])
            following = array("H", bytes.fromhex(raw["next"]))
            at_end = {int(state) for state in raw["at_end"]}
            self.literals = tuple(bytes.fromhex(text) for text in raw["literals"])
        except (KeyError, TypeError) as error:
            raise ValueError("a table lacks something") from error
        states, rest = divmod(len(following), count) if count > 0 else (0, 1)
        is_whole = (
            len(self._classes) == 256 and max(self._classes) < count and not rest and len(following) <= MAX_ENTRIES
        )
        if not is_whole or not 0 <= start < states or max(following, default=0) >= states:
            raise ValueError("a table does not fit together")
        self.ignores_case = ignores_case
        # Multiplied once, so that a step is one addition and one look.
        self._next = [state * count for state in following]
        self._start = start * count
        self._stop = _MATCHED * count
        self._at_end = {state * count for state in at_end} | {_MATCHED * count}

    def matches(self, text: bytes) -> bool:
        """Return whether `text` has a match."""
        if self.literals and not self.may_match(text.lower() if self.ignores_case else text):
            return False
        state, following, stop = self._start, self._next, self._stop
        for kind in text.translate(self._classes):
            if state <= stop:
                break
            state = following[state + kind]
        return state in self._at_end

    def may_match(self, text: bytes) -> bool:
        """Return False when `text`, in lower case if `ignores_case`, has no match for sure."""
        return not self.literals or any(literal in text for literal in self.literals)
