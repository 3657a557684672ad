"""Files of variables."""

from pathlib import Path

import pytest

from inpod.config.env_file import MAX_BYTES, parse_env, read_env_file
from inpod.errors import UserError

TEXT = r"""
# a comment
PLAIN=a b  # behind it
  export SPACED =  x#y
EMPTY=
COMMENTED= # nothing
SINGLE='$HOME \n "q" # in it' # behind it
DOUBLE="a\tb \"q\" \\ \$HOME 'x'"
URL=postgres://u:p@db:5432/x?a=b&c=d
TWICE=1
TWICE=2
"""


def test_each_form_of_a_value() -> None:
    assert (
        parse_env(TEXT.replace("\n", "\r\n"), "f")
        == parse_env(TEXT, "f")
        == {
            "PLAIN": "a b",
            "SPACED": "x#y",
            "EMPTY": "",
            "COMMENTED": "",
            "SINGLE": r'$HOME \n "q" # in it',
            "DOUBLE": "a\tb \"q\" \\ $HOME 'x'",
            "URL": "postgres://u:p@db:5432/x?a=b&c=d",
            "TWICE": "2",
        }
    )


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("just words", "is no NAME=VALUE"),
        ("  =x", "is no NAME=VALUE"),
        ("A='x", "is no NAME=VALUE"),
        ("A=it's", "is no NAME=VALUE"),
        (r"A=C:\x", "is no NAME=VALUE"),
        ("A='x'y", "is no NAME=VALUE"),
        ("A=x/$HOME", "has a variable in its value"),
        (r'A="\\${B}"', "has a variable in its value"),
        ("A=$(date)", "has a variable in its value"),
    ],
)
def test_what_tools_read_in_different_ways_is_refused_and_not_shown(line: str, what: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_env(f"OK=1\n{line}\n", "vars")
    assert caught.value.message == f"vars:2 {what}."
    assert caught.value.shown == ""


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "vars"
    with pytest.raises(UserError, match=r"Cannot read the variables of .*vars: No such file"):
        read_env_file(path)
    for content, said in ((b"A=\xff", "byte 2 is wrong"), (b"A=\0", "no file"), (b"A" * (MAX_BYTES + 1), "no file")):
        path.write_bytes(content)
        with pytest.raises(UserError, match=said):
            read_env_file(path)
