r"""A file of variables: lines `NAME=VALUE`, as shells, Docker Compose and mirrord read them.

`export` may stand before a name, `#` begins a comment (behind a value after a space). In single quotes a value is as it
stands; in double quotes `\n`, `\r`, `\t`, `\"`, `\\` and `\$` mean what they do elsewhere. What tools read in different ways is
refused: `$NAME`, and quotes or backslashes in a value without quotes around it.
"""

import re
from pathlib import Path

from inpod.errors import UserError

MAX_BYTES = 1024 * 1024

_LINE = re.compile(
    r"""\s*(?:(?:export\s+)?(?P<name>[^\s=#'"]+)\s*=\s*
    (?:'(?P<single>[^']*)' | "(?P<double>(?:[^"\\]|\\.)*)" | (?P<plain>[^\s\#'"\\][^'"\\]*?)?)
    \s*)?(?:(?:^|(?<=\s))\#.*)?""",
    re.VERBOSE,
)

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables of a file.

    Raises:
        UserError: It cannot be read, or a line is none of these; with the place.
    """
    try:
        with path.open("rb") as opened:
            text = opened.read(MAX_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise UserError(
            f"Cannot read the variables of {path}: {error.strerror}.",
            hint="Check --env-file or feature.env.env_file; a relative path is one from the working directory.",
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: byte {error.start} is wrong.", hint="Check the path.") from None
    if len(text) > MAX_BYTES or "\0" in text:
        raise UserError(f"{path} is no file of variables.", hint="Such a file has lines NAME=VALUE.")
    return parse_env(text, str(path))


def parse_env(text: str, name: str) -> dict[str, str]:
    """Return the variables in `text`; of two of one name the last.

    Args:
        name: Of the file, for errors.

    Raises:
        UserError: A line is none of these.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise _wrong(f"{name}:{number} is no NAME=VALUE")
        if match["name"] is None:
            continue
        quoting = next((kind for kind in ("single", "double") if match[kind] is not None), "plain")
        value: str = match[quoting] or ""
        if quoting != "single" and re.search(r"(?<!\\)(?:\\\\)*\$[\w{(]", value):
            raise _wrong(f"{name}:{number} has a variable in its value")
        if quoting == "double":
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), value)
        found[match["name"]] = value
    return found


def _wrong(what: str) -> UserError:
    # The line is not shown: it may have a password in it.
    return UserError(f"{what}.", hint="Write NAME=VALUE; a value with quotes, \\ or $ in single quotes.")
