"""Where something stands in a JSON text is found again by its name."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.config.places import locate

Value = object

NAMES = st.text('ab{}",: \\é', min_size=1, max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\{}[], é', max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


def places(value: Value, place: str) -> Iterator[tuple[str, Value]]:
    """Each value with its place."""
    yield place, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, f"{place}.{key}" if place else key)
    if isinstance(value, list):
        for at, inner in enumerate(value):
            yield from places(inner, f"{place}[{at}]")


@given(VALUES, st.sampled_from([None, 0, 2]))
def test_each_value_and_each_key_is_found(whole: Value, indent: int | None) -> None:
    text = f" {json.dumps(whole, indent=indent)} "
    for place, value in places(whole, ""):
        at = locate(text, place)
        assert at is not None
        assert json.JSONDecoder().raw_decode(text, at)[0] == value
        for key in value if isinstance(value, dict) else ():
            key_at = locate(text, place, key)
            assert key_at is not None
            assert json.JSONDecoder().raw_decode(text, key_at)[0] == key


@pytest.mark.parametrize(
    ("text", "place", "key"),
    [
        ("", "", "a"),
        ("{}", "a", ""),
        ("[1]", "[1]", ""),
        ('{"a": 1', "b", ""),
        ("[" * 100_000, "[1]", ""),
        ("3", "a", ""),
    ],
)
def test_what_is_not_there_is_not_found(text: str, place: str, key: str) -> None:
    assert locate(text, place, key) is None
