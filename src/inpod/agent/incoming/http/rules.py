"""Whether a request is a session's: the conditions of its filter, compiled by the session (session/incoming/http_filter.py)."""

import json
from collections.abc import Mapping
from typing import Literal, get_args

from inpod.agent.incoming.http.choice import Head
from inpod.agent.incoming.http.selectors import parse_steps, select
from inpod.agent.incoming.http.table import Table

MAX_CLAUSES = 64

MAX_REMEMBERED = 4 * 1024 * 1024
"""Bytes of heads whose answer is remembered, about: a client on a kept connection sends the same ones again and again."""

_FIELD_BYTES = 128
"""What a field takes besides its text: three objects. A head itself takes as much as two."""

MAX_TEXT = 256 * 1024
"""Bytes of all values together that one condition looks at in a body: each counts again in what it is a member of."""

MAX_SHOWN = 60
"""Characters of a header's value that an explanation repeats."""

SECRET = frozenset({b"authorization", b"cookie", b"proxy-authorization"})
"""Headers whose value is not repeated."""

Kind = Literal["header", "path", "method", "body"]


class Clause:
    """One condition."""

    def __init__(self, raw: object) -> None:
        """Take a condition apart.

        Raises:
            ValueError: It is none.
        """
        if not isinstance(raw, Mapping) or raw.get("kind") not in get_args(Kind):
            raise ValueError("there is no such condition")
        self.kind: Kind = raw["kind"]
        self.text, self.place = str(raw.get("text", "")), str(raw.get("place", ""))
        self._method = self.text.encode().upper()
        self._table = None if self.kind == "method" else Table(raw.get("table"), ignores_case=self.kind != "body")
        self._steps = parse_steps(raw.get("query")) if self.kind == "body" else []

    def holds(self, head: Head, body: bytes | None) -> bool | None:
        """Return whether it holds; None when the body decides and is not there."""
        match self.kind:
            case "header":
                assert self._table is not None
                return any(map(self._table.matches, _lines(head)))
            case "path":
                assert self._table is not None
                path = head.target.partition(b"?")[0]
                return self._table.matches(path) or (path != head.target and self._table.matches(head.target))
            case "method":
                return head.method.upper() == self._method
            case "body":
                return None if body is None else self._holds_for(body)

    def why_not(self, head: Head, body: bytes | None) -> str:
        """Say what of a request it did not hold for."""
        match self.kind:
            case "header":
                return f"{self.place} '{self.text}' matches no header{self._closest(head)}"
            case "path":
                return f"{self.place} '{self.text}' does not match the path"
            case "method":
                return f"{self.place} is {self.text}"
            case "body":
                return f"{self.place} '{self.text}' matches no value that the query selects in the body"

    def _holds_for(self, body: bytes) -> bool:
        assert self._table is not None
        left = MAX_TEXT
        try:
            for found in select(json.loads(body), self._steps):
                text = _text(found)
                left -= len(text)
                if left < 0:
                    return False
                if self._table.matches(text):
                    return True
        except (ValueError, RecursionError):
            # No JSON, or nested deeper than may be.
            return False
        return False

    def _closest(self, head: Head) -> str:
        """Return the header that the pattern names, as the request has it."""
        wanted = self.text.lower().encode()
        for name, value in head.headers:
            if name.lower() in wanted:
                shown = "…" if name.lower() in SECRET else value[:MAX_SHOWN].decode("latin-1")
                return f"; the request has '{name.decode('latin-1')}: {shown}'"
        return ""


class Rules:
    """All conditions of a session's filter. Make it by `parse`.

    Attributes:
        needs_body: Whether a condition looks at bodies.
    """

    def __init__(self, clauses: list[Clause], *, is_all: bool) -> None:
        self.needs_body = any(clause.kind == "body" for clause in clauses)
        # What needs the body comes last.
        self._clauses = sorted(clauses, key=lambda clause: clause.kind == "body")
        self._is_all = is_all
        self._remembered: dict[Head, bool | None] = {}
        self._remembered_bytes = 0

    @classmethod
    def parse(cls, raw: object) -> "Rules":
        """Return the rules in a `Subscribe`.

        Raises:
            ValueError: They are none.
        """
        if not isinstance(raw, Mapping):
            raise ValueError("a filter is an object")
        clauses = raw.get("clauses")
        if not isinstance(clauses, list) or not 0 < len(clauses) <= MAX_CLAUSES:
            raise ValueError(f"a filter has 1 to {MAX_CLAUSES} conditions")
        return cls([Clause(clause) for clause in clauses], is_all=bool(raw.get("all")))

    def matches(self, head: Head, body: bytes | None) -> bool | None:
        """Return whether a request is the session's; None: the body decides, give it."""
        if body is not None and self.needs_body:
            return self._decide(head, body)
        try:
            return self._remembered[head]
        except KeyError:
            answer = self._decide(head, None)
            self._remember(head, answer)
            return answer

    def explain(self, head: Head, body: bytes | None) -> str:
        """Say in one line why a request is not the session's: what of the first condition that did not hold."""
        failed = [clause for clause in self._clauses if not clause.holds(head, body)]
        if not failed:
            return "it matches"
        more = (
            f", nor does any other of the {len(failed)} conditions hold" if len(failed) > 1 and not self._is_all else ""
        )
        return failed[0].why_not(head, body) + more

    def _remember(self, head: Head, answer: bool | None) -> None:
        size = head.size + _FIELD_BYTES * (2 + len(head.headers))
        if self._remembered_bytes + size > MAX_REMEMBERED:
            self._remembered.clear()
            self._remembered_bytes = 0
        self._remembered[head] = answer
        self._remembered_bytes += size

    def _decide(self, head: Head, body: bytes | None) -> bool | None:
        is_open = False
        for clause in self._clauses:
            holds = clause.holds(head, body)
            if holds is None:
                is_open = True
            elif holds is not self._is_all:
                return holds
        return None if is_open else self._is_all


def _lines(head: Head) -> list[bytes]:
    return [b"%b: %b" % field for field in head.headers]


def _text(value: object) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")
