"""Ports that debuggers use: they belong to this machine, or no debugger could attach."""

import re
import shlex
from collections.abc import Mapping, Sequence

NODE_INSPECT_PORT = 9229

_PORT = r"(?:[^\s:=,]*:)?(\d{1,5})"
_NODE = re.compile(rf"--(?:inspect|debug)(?:-brk|-port|-wait)?(?:=(?:{_PORT}|[^\s]*))?$")
_JDWP = re.compile(r"(?:-agentlib:jdwp|-Xrunjdwp)[=:]\S*?address=(?:[^\s:,]*:)?(\d{1,5})")
_AFTER = {"--listen", "--connect", "--port", "-l"}
"""Options of debugpy, pydevd and delve that a port follows."""

_DEBUGGERS = re.compile(r"(?:^|/)(?:debugpy|pydevd(?:\.py)?|dlv|rdbg)(?:/|$)")


def debugger_ports(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[int, ...]:
    """Return the ports that the command line or the environment gives to a debugger."""
    found: set[int] = set()
    words = [*argv]
    for name in ("NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"):
        try:
            words += shlex.split(environment.get(name, ""))
        except ValueError:
            continue
    for word in words:
        if match := _NODE.match(word):
            found.add(int(match.group(1)) if match.group(1) else NODE_INSPECT_PORT)
        if match := _JDWP.search(word):
            found.add(int(match.group(1)))
    if any(_DEBUGGERS.search(word) for word in argv):
        for index, word in enumerate(argv):
            option, _, value = word.partition("=")
            if option in _AFTER:
                value = value or (argv[index + 1] if index + 1 < len(argv) else "")
                if match := re.fullmatch(_PORT, value):
                    found.add(int(match.group(1)))
    return tuple(sorted(port for port in found if 0 < port < 65536))
