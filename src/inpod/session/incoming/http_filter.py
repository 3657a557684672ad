"""Compiles a configured filter to what the agent decides by: tables for its regular expressions (native/filters).

The library and the JSONPath parser are loaded only where a filter is configured.
"""

import ctypes
import json
from pathlib import Path

import inpod
from inpod.config.http_filter import Condition, HttpFilter, conditions
from inpod.errors import ExitCode, UserError, pointed

LIBRARY = "libinpod_filters.so"
ROOM_BYTES = 4 * 1024 * 1024
"""For a table as JSON; the largest that the library makes is a third of it."""

NO_LOOKAROUND = "look-around"


def compile_filter(value: HttpFilter) -> dict[str, object]:
    """Return the filter for `Subscribe`; agent/incoming/http/rules.py reads it.

    Raises:
        UserError: A pattern or a query that cannot be; with its place and a caret.
    """
    is_all, found = conditions(value)
    return {"all": is_all, "clauses": [_clause(condition) for condition in found]}


def _clause(condition: Condition) -> dict[str, object]:
    kind, text, query, place = condition
    clause: dict[str, object] = {"kind": kind, "text": text, "place": place.rpartition("http_filter.")[2]}
    if kind == "method":
        return clause
    if kind == "body":
        clause["query"] = _selectors(query, f"{place}.query")
        place = f"{place}.matches"
    clause["table"] = compile_pattern(text, place, ignore_case=kind != "body")
    return clause


def compile_pattern(pattern: str, place: str, *, ignore_case: bool) -> dict[str, object]:
    """Return the table of a regular expression.

    Raises:
        UserError: It is none, or has what a table cannot do.
    """
    raw = pattern.encode()
    room = ctypes.create_string_buffer(ROOM_BYTES)
    size = _library().inpod_filters_compile(raw, len(raw), ignore_case, room, ROOM_BYTES)
    if size > ROOM_BYTES:
        raise _wrong(place, pattern, len(pattern), "its table would be too large")
    found: dict[str, object] = json.loads(room.raw[:size])
    if "mistake" in found:
        reason = bytes.fromhex(str(found["mistake"])).decode()
        at = len(raw[: int(str(found["at"]))].decode(errors="ignore"))
        raise _wrong(place, pattern, at, reason)
    return found


def _library() -> ctypes.CDLL:
    path = Path(inpod.__path__[0]) / "native" / LIBRARY
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        raise UserError(
            f"The filters' library is missing: {path}.",
            hint="Install inpod again with Rust at hand: pip install .",
            exit_code=ExitCode.CANNOT_EXECUTE,
        ) from None
    function = library.inpod_filters_compile
    function.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_bool, ctypes.c_char_p, ctypes.c_size_t]
    function.restype = ctypes.c_size_t
    return library


def _selectors(query: str, place: str) -> list[list[object]]:
    """Return a JSONPath as steps: whether all descendants count, and the selectors.

    A selector is a name, an index, a slice as a list of three, or null for all members.
    """
    import jsonpath_rfc9535 as jsonpath

    try:
        segments = jsonpath.compile(query).segments
    except jsonpath.JSONPathError as error:
        at = error.token.index if error.token is not None else len(query)
        raise _wrong(place, query, at, str(error).partition(", line ")[0]) from None
    steps: list[list[object]] = []
    for segment in segments:
        is_deep = isinstance(segment, jsonpath.segments.JSONPathRecursiveDescentSegment)
        selectors: list[object] = []
        for selector in segment.selectors:
            match selector:
                case jsonpath.selectors.NameSelector():
                    selectors.append(selector.name)
                case jsonpath.selectors.IndexSelector():
                    selectors.append(selector.index)
                case jsonpath.selectors.SliceSelector():
                    cut = selector.slice
                    selectors.append([cut.start, cut.stop, cut.step])
                case jsonpath.selectors.WildcardSelector():
                    selectors.append(None)
                case _:
                    raise _wrong(place, query, selector.token.index, "filter selectors are not supported")
        steps.append([is_deep, selectors])
    return steps


def _wrong(place: str, text: str, at: int, reason: str) -> UserError:
    return UserError(
        f"{place}: {reason.rstrip('.')}.",
        hint="Patterns are those of Rust's regex, without look-around and back-references; queries are JSONPath (RFC 9535).",
        shown=pointed(text, min(at, len(text))),
    )
