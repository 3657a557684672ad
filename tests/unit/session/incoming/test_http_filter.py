"""Filters from their configuration to the agent's decision: both ends together, for neither means anything alone."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.agent.incoming.http.choice import Head
from inpod.agent.incoming.http.rules import Rules
from inpod.agent.incoming.http.selectors import MAX_NODES, parse_steps, select
from inpod.agent.incoming.http.table import Table
from inpod.config.http_filter import HttpFilter
from inpod.errors import ExitCode, UserError
from inpod.session.incoming.http_filter import compile_filter, compile_pattern


def rules(**configured: object) -> Rules:
    """Return the agent's rules for a configuration, as they travel."""
    return Rules.parse(json.loads(json.dumps(compile_filter(msgspec.convert(configured, HttpFilter)))))


def request(method: str = "GET", target: str = "/", **headers: str) -> Head:
    fields = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return Head(method.encode(), target.encode(), fields)


def table(pattern: str, *, ignore_case: bool = False) -> Table:
    return Table(compile_pattern(pattern, "place", ignore_case=ignore_case), ignores_case=ignore_case)


@pytest.mark.parametrize(
    ("configured", "head", "answer"),
    [
        ({"header_filter": "^x-user: alice$"}, request(X_User="alice"), True),
        ({"header_filter": "^x-user: alice$"}, request(x_user="ALICE"), True),
        ({"header_filter": "^x-user: alice$"}, request(x_user="alice2"), False),
        ({"header_filter": "^x-user: alice$"}, request(other="x-user: alice"), False),
        ({"header_filter": "ali"}, request(x_user="malice"), True),
        ({"header_filter": ""}, request(), False),
        ({"path_filter": "^/a$"}, request(target="/a?b=c"), True),
        ({"path_filter": "b=c$"}, request(target="/a?b=c"), True),
        ({"path_filter": "^/A$"}, request(target="/a"), True),
        ({"path_filter": "^/b"}, request(target="/a"), False),
        ({"method_filter": "get"}, request(), True),
        ({"method_filter": "GE"}, request(), False),
        ({"any_of": [{"path": "^/b"}, {"method": "GET"}]}, request(), True),
        ({"any_of": [{"path": "^/b"}, {"method": "PUT"}]}, request(), False),
        ({"all_of": [{"path": "^/"}, {"method": "GET"}]}, request(), True),
        ({"all_of": [{"path": "^/b"}, {"method": "GET"}]}, request(), False),
    ],
)
def test_filters_without_bodies(configured: dict[str, object], head: Head, answer: bool) -> None:
    made = rules(**configured)
    assert made.matches(head, None) is answer
    # The second answer is remembered, and the same.
    assert made.matches(head, None) is answer
    assert made.matches(head, b"{}") is answer


BODY = {"body": "json", "query": "$.users[*].name", "matches": "^alice$"}


@pytest.mark.parametrize(
    ("configured", "head", "without", "body", "answer"),
    [
        ({"body_filter": BODY}, request(), None, b'{"users": [{"name": "bob"}, {"name": "alice"}]}', True),
        ({"body_filter": BODY}, request(), None, b'{"users": [{"name": "Alice"}]}', False),
        ({"body_filter": BODY}, request(), None, b"no json", False),
        ({"body_filter": BODY}, request(), None, b"[" * 60_000, False),
        (
            {"body_filter": {**BODY, "query": "$..n", "matches": r"^\[1,2\]$"}},
            request(),
            None,
            b'{"a":{"n":[1,2]}}',
            True,
        ),
        ({"all_of": [{"method": "PUT"}, BODY]}, request(), False, b'{"users": [{"name": "alice"}]}', False),
        ({"any_of": [BODY, {"method": "GET"}]}, request(), True, b"", True),
        ({"any_of": [BODY, {"method": "PUT"}]}, request(), None, b"", False),
    ],
)
def test_filters_with_bodies(
    configured: dict[str, object], head: Head, without: bool | None, body: bytes, answer: bool
) -> None:
    made = rules(**configured)
    assert made.needs_body
    assert made.matches(head, None) is without
    assert made.matches(head, body) is answer


def test_body_of_any_depth_is_decided() -> None:
    made = rules(body_filter={**BODY, "query": "$.a"})
    # As deep as can be read, but not said again: where that is depends on who calls.
    for depth in range(500, 1100):
        assert made.matches(request(), b'{"a":' + b"[" * depth + b"]" * depth + b"}") is False


def test_values_that_are_in_each_other_are_looked_at_up_to_a_bound() -> None:
    made = rules(body_filter={**BODY, "query": "$..*"})

    def body(depth: int) -> bytes:
        return b'[%b"%b"%b, ["alice"]]' % (b"[" * depth, b"x" * 40_000, b"]" * depth)

    assert made.matches(request(), body(2)) is True
    # Each of them would be read as a whole, which took the agent seconds.
    assert made.matches(request(), body(400)) is False


def test_why_a_request_is_not_the_sessions() -> None:
    made = rules(header_filter="^x-user: alice$")
    assert made.explain(request(X_User="bob"), None) == (
        "header_filter '^x-user: alice$' matches no header; the request has 'X-User: bob'"
    )
    secret = rules(header_filter="^authorization: Bearer alice$")
    assert "token" not in secret.explain(request(Authorization="Bearer token"), None)
    both = rules(any_of=[{"path": "^/a"}, {"method": "PUT"}])
    assert both.explain(request(target="/b"), None) == (
        "any_of[0].path '^/a' does not match the path, nor does any other of the 2 conditions hold"
    )


PIECES = st.sampled_from(
    ["a", "b", "ab", ".", "[ab]", "[^a]", "a*", "b+", "(a|b)", "(ab)?", "a{1,3}", "^", "$", r"\d", r"\w", "x"]
)


@given(st.lists(PIECES, max_size=6).map("".join), st.text("abx1 _\n", max_size=12), st.booleans())
def test_tables_agree_with_pythons_regular_expressions(pattern: str, text: str, ignore_case: bool) -> None:
    # `$` of Python also matches before a last line feed; `\Z` is what Rust's means.
    flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
    wanted = re.search(pattern.replace("$", r"\Z").encode(), text.encode(), flags) is not None
    assert table(pattern, ignore_case=ignore_case).matches(text.encode()) is wanted


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){12}b", "a*a*a*a*a*a*b"])
def test_no_pattern_takes_more_than_a_step_for_a_byte(pattern: str) -> None:
    class Counting(list[int]):
        steps = 0

        def __getitem__(self, at: Any) -> Any:
            Counting.steps += 1
            return super().__getitem__(at)

    made = table(pattern)
    made._next = Counting(made._next)
    made.matches(b"a" * 5000 + b"!")
    assert Counting.steps <= 5001


@pytest.mark.parametrize(
    ("configured", "place", "reason"),
    [
        ({"header_filter": "x(?=y)"}, "header_filter", "look-around"),
        ({"path_filter": r"(a)\1"}, "path_filter", "backreferences"),
        ({"any_of": [{"path": "a"}, {"header": "(a"}]}, "any_of[1].header", "unclosed group"),
        ({"body_filter": {**BODY, "query": "$.a["}}, "body_filter.query", "unbalanced"),
        ({"body_filter": {**BODY, "query": "$.a[?@.b]"}}, "body_filter.query", "filter selectors"),
        ({"body_filter": {**BODY, "matches": "["}}, "body_filter.matches", "unclosed"),
    ],
)
def test_a_mistake_is_shown_with_its_place_and_a_caret(configured: dict[str, object], place: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        rules(**configured)
    assert caught.value.exit_code is ExitCode.USAGE
    assert f"http_filter.{place}: " in caught.value.message
    assert reason in caught.value.message
    assert "\n" not in caught.value.message + caught.value.hint
    text, caret = caught.value.shown.splitlines()
    assert caret.strip() == "^"
    assert len(caret) <= len(text) + 1


@pytest.mark.parametrize(
    "configured",
    [
        {},
        {"header_filter": "a", "path_filter": "b"},
        {"any_of": []},
        {"any_of": [{}]},
        {"any_of": [{"path": "a", "method": "GET"}]},
        {"all_of": [{"body": "json", "query": "$"}]},
        {"all_of": [{"path": "a", "query": "$"}]},
    ],
)
def test_conditions_that_exclude_each_other(configured: dict[str, object]) -> None:
    with pytest.raises(UserError, match="http_filter"):
        rules(**configured)


@pytest.mark.slow
def test_a_pattern_whose_table_would_be_too_large_is_refused() -> None:
    with pytest.raises(UserError, match="too large"):
        rules(header_filter="[ab]*a[ab]{18}$")


GOOD = compile_pattern("^x-[a-z]+: alice$", "place", ignore_case=True)


@given(st.data())
def test_a_damaged_table_is_refused_or_answers(data: st.DataObject) -> None:
    raw: dict[str, Any] = dict(GOOD)
    key = data.draw(st.sampled_from(sorted(raw)))
    if isinstance(raw[key], str):
        damaged = bytearray.fromhex(raw[key])
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        raw[key] = bytes(
            damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged
        ).hex()
    else:
        raw[key] = data.draw(
            st.one_of(st.integers(-5, 70_000), st.none(), st.lists(st.integers(-5, 70_000), max_size=3))
        )
    try:
        made = Table(raw, ignores_case=True)
    except ValueError:
        return
    assert made.matches(b"X-User: alice") in (True, False)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=2), inner),
    )
)
def test_selecting_is_bounded(value: Any) -> None:
    steps = parse_steps([[True, [None]], [True, [None]], [False, [[None, None, 2], 0, "a"]]])
    assert len(select(value, steps)) <= MAX_NODES
