"""How the place of a mistake is shown."""

import pytest

from inpod.errors import SHOWN, pointed


@pytest.mark.parametrize(
    ("text", "at", "shown"),
    [
        ("a(b", 1, "    a(b\n     ^"),
        ("(a", 0, "    (a\n    ^"),
        ("(a", 2, "    (a\n      ^"),
        ("", 0, "    \n    ^"),
        ("(?x)\n  a(\n# end", 8, "      a(\n       ^"),
        ("\ta\x1b[1m(", 6, "     a [1m(\n          ^"),
    ],
)
def test_the_caret_is_below_the_character(text: str, at: int, shown: str) -> None:
    assert pointed(text, at) == shown


@pytest.mark.parametrize("at", [0, 39, 40, 41, 500, 999])
def test_of_a_long_line_the_part_around_it_is_shown(at: int) -> None:
    text = "".join(chr(ord("a") + number % 26) for number in range(1000))
    line, caret = pointed(text, at).splitlines()
    assert line[caret.index("^")] == text[at]
    assert len(line) <= len("    ") + SHOWN + 1
