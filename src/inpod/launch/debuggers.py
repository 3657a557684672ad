"""Ports that debuggers use: they belong to this machine, or no debugger could attach."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

from inpod.config.mirrord import IGNORED_PORTS

NODE_INSPECT_PORT = 9229

OPTION_VARIABLES = ("NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
"""Their value is a piece of command line."""

_AFTER = {"--listen", "--connect", "--port", "--client-port", "-l"}
"""Options of debugpy, pydevd and delve that [HOST:]PORT follows."""

_NODE = re.compile(r"--inspect(?:-brk|-wait|-port)?(?:=(.*))?$")
_JDWP = re.compile(r"(?:-agentlib:jdwp=|-Xrunjdwp:)(?:\S*,)?address=([^,\s]+)")
_DEBUGGER = re.compile(r"(?:^|/)(?:debugpy|debugpy/launcher|debugpy/adapter|pydevd(?:\.py)?|dlv)/?$")


def debugger_ports(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[int, ...]:
    """Return the ports that the command line or the environment gives to a debugger, in order."""
    words = [*argv, *_option_words(environment)]
    found = {*_of_node(words), *_of_java(words), *_of_others(argv), *_ignored(environment.get(IGNORED_PORTS, ""))}
    return tuple(sorted(port for port in found if 0 < port < 65536))


def _option_words(environment: Mapping[str, str]) -> list[str]:
    words: list[str] = []
    for name in OPTION_VARIABLES:
        value = environment.get(name, "")
        try:
            words += shlex.split(value)
        except ValueError:  # a quote without its other
            words += value.split()
    return words


def _of_node(words: Sequence[str]) -> Iterator[int]:
    for word in words:
        if match := _NODE.match(word):
            # The value is HOST, PORT or HOST:PORT; without a port it is the default.
            yield _port(match.group(1) or "") or NODE_INSPECT_PORT


def _of_java(words: Sequence[str]) -> Iterator[int]:
    for word in words:
        if match := _JDWP.search(word):
            yield _port(match.group(1))


def _of_others(argv: Sequence[str]) -> Iterator[int]:
    """Ports of debugpy (also as an editor's launcher), pydevd and delve."""
    if not any(_DEBUGGER.search(word) for word in argv):
        return
    for index, word in enumerate(argv):
        after = argv[index + 1] if index + 1 < len(argv) else ""
        option, equals, value = word.partition("=")
        if option in _AFTER:
            yield _port(value if equals else after)
        elif word.endswith("debugpy/launcher"):
            yield _port(after)


def _ignored(text: str) -> Iterator[int]:
    for piece in text.split(","):
        first, dash, last = (part.strip() for part in piece.partition("-"))
        if first.isdecimal() and (last.isdecimal() if dash else not last):
            yield from range(int(first), min(int(last or first), 65535) + 1)


def _port(text: str) -> int:
    """Return the port of [HOST:]PORT; 0 where there is none."""
    digits = text.rpartition(":")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 5 else 0
