"""The user's command: where its file is, whether the layer reaches it, and which trees it is installed in."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from inpod.errors import ExitCode, UserError
from inpod.launch.elf import Kind, look

SHELL = "/bin/sh"

ENV = "/usr/bin/env"
"""Becomes another program and changes nothing. A shell would drop what its variables cannot be called (`discovery.type`)."""

Interceptor = Literal["layer", "tracer"]

BEYOND_LAYER = (Kind.STATIC, Kind.GO, Kind.BUN, Kind.MUSL)
"""What the layer cannot be in, and the tracer can serve."""

BEYOND_BOTH = (Kind.BITS_32, Kind.SET_ID)


class Command(NamedTuple):
    """What is to be started.

    Attributes:
        argv: The program's own command line.
        executable: The file to execute.
        trees: Folders that hold the program's own installation: of this machine, whatever the pod has there.
        kind: Of what runs in the end.
        is_pods: Whether this machine has no such file: `executable` is env(1), which is to become the pod's.
    """

    argv: tuple[str, ...]
    executable: str
    trees: tuple[str, ...]
    kind: Kind = Kind.DYNAMIC
    is_pods: bool = False


def find_command(argv: Sequence[str], search: str = "") -> Command:
    """Return what a shell would start for `argv`; of a full path that is not there, what may only be in the pod.

    Args:
        search: PATH.

    Raises:
        UserError: It is not there (127), cannot be executed (126), or nothing can reach it (71).
    """
    name = argv[0]
    search = search or os.defpath
    # To env(1), what has a "=" is a variable.
    is_pods = os.path.isabs(name) and "=" not in name and not os.path.lexists(name)
    path = ENV if is_pods else os.path.abspath(_find(name, search))
    try:
        program = look(path, search)
    except OSError as error:
        raise _unreadable(name, path, error) from None
    if is_pods:
        return Command(tuple(argv), ENV, (), program.kind, is_pods=True)
    if program.kind in BEYOND_BOTH:
        whose = name if len(program.files) == 1 else f"{name} runs {program.files[-1]}, which"
        raise UserError(
            f"{whose} is {program.kind.value}: inpod cannot reach such programs.",
            hint="Use a 64-bit program without set-id rights; see docs/limits.md.",
            exit_code=ExitCode.NOT_INTERCEPTABLE,
        )
    trees = installation_trees(program.files)
    if program.kind is Kind.TEXT:
        # As execvp(3) and every shell do with a script that does not say by what.
        return Command((SHELL, path, *argv[1:]), SHELL, trees)
    if program.kind is Kind.UNKNOWN:
        raise UserError(
            f"{name}: cannot execute this kind of file.",
            hint="It is neither a program for this machine nor a script.",
            exit_code=ExitCode.CANNOT_EXECUTE,
        )
    return Command(tuple(argv), path, trees, program.kind)


def interceptor_for(command: Command, wanted: Literal["auto", "layer", "tracer"]) -> Interceptor:
    """Return what reaches a program: the layer where it can, as it costs least.

    Raises:
        UserError: The layer was asked for and cannot be in it (71).
    """
    if command.kind not in BEYOND_LAYER:
        return "tracer" if wanted == "tracer" else "layer"
    if wanted == "layer":
        raise UserError(
            f"{command.argv[0]} is {command.kind.value}: the layer cannot be in it.",
            hint="Leave the choice to inpod: --interceptor auto.",
            exit_code=ExitCode.NOT_INTERCEPTABLE,
        )
    return "tracer"


def installation_trees(files: Sequence[str]) -> tuple[str, ...]:
    """Return the folders that the programs `files` are installed in, never the root.

    They are the prefixes (what `bin` lies in) of the paths as named and of the real files; for the Python of a virtual
    environment also that of its base (pyvenv.cfg). Of a program that lies in no `bin`, its folder.
    """
    trees: dict[str, None] = {}
    for file in files:
        for path in (file, os.path.realpath(file)):
            folder = Path(path).parent
            tree = folder.parent if folder.name in ("bin", "sbin") else folder
            trees[str(tree)] = None
            trees.update(dict.fromkeys(_bases(tree)))
    return tuple(tree for tree in trees if tree not in ("/", "."))


def search_folders(search: str) -> tuple[str, ...]:
    """Return the folders of PATH that this machine has: looking a command up must not ask the pod for each."""
    return tuple(folder for folder in search.split(os.pathsep) if os.path.isabs(folder) and os.path.isdir(folder))


def not_found(name: str) -> UserError:
    """Return what is said of a command that is not there."""
    return UserError(
        f"{name or repr(name)}: command not found.",
        hint="Write its path." if "/" in name else "Write its path, or put its folder into PATH.",
        exit_code=ExitCode.COMMAND_NOT_FOUND,
    )


def _bases(environment: Path) -> list[str]:
    """Return where the Python of a virtual environment comes from, nothing for other folders."""
    try:
        lines = (environment / "pyvenv.cfg").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found: list[str] = []
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "home" and os.path.isabs(home := value.strip()):
            found += [os.path.dirname(home), os.path.dirname(os.path.realpath(home))]
    return found


def _find(name: str, search: str) -> str:
    """Return a path that may be executed."""
    places = [name] if "/" in name else [os.path.join(folder, name) for folder in search.split(os.pathsep)]
    refused: UserError | None = None
    for place in places if name else []:
        if os.path.isdir(place):
            why = "is a folder"
        elif os.access(place, os.X_OK):
            return place
        elif os.path.exists(place):
            why = "may not be executed"
        else:
            continue
        if refused is None and ("/" in name or why != "is a folder"):
            refused = UserError(
                f"{place} {why}.",
                hint="Name a program; a file needs its x bit (chmod +x) and a file system without noexec.",
                exit_code=ExitCode.CANNOT_EXECUTE,
            )
    raise refused or not_found(name)


def _unreadable(name: str, path: str, error: OSError) -> UserError:
    what = error.filename if isinstance(error.filename, str) else path
    if error.errno == errno.ENOENT:
        return UserError(
            f"{name}: its interpreter {what} is not there.",
            hint="Correct the script's first line, or install the interpreter.",
            exit_code=ExitCode.COMMAND_NOT_FOUND,
        )
    return UserError(
        f"{name}: {what} cannot be read ({error.strerror}).",
        hint="inpod must see what kind of program it is: make it readable.",
        exit_code=ExitCode.CANNOT_EXECUTE,
    )
