"""The user's command: where its file is, whether the layer reaches it, and which tree it is installed in."""

import os
import shutil
from pathlib import Path

from inpod.errors import ExitCode, UserError
from inpod.launch.elf import Kind, program_kind

WHERE = {
    Kind.STATIC: "is linked statically",
    Kind.GO: "is a Go program",
    Kind.MUSL: "is built for musl",
    Kind.BITS_32: "is a 32-bit program",
    Kind.SET_ID: "is set-id",
}


def find_command(name: str) -> str:
    """Return the file to execute, as a shell finds it.

    Raises:
        UserError: Not there (127), not executable (126), or not reachable for the layer (71).
    """
    path = shutil.which(name)
    if path is None:
        if os.path.exists(name) and "/" in name:
            raise UserError(
                f"{name}: cannot be executed.",
                hint="Check that it is a file with its x bit set (chmod +x).",
                exit_code=ExitCode.CANNOT_EXECUTE,
            )
        raise UserError(
            f"{name}: command not found.",
            hint="Write its path, or put its folder into PATH.",
            exit_code=ExitCode.COMMAND_NOT_FOUND,
        )
    path = os.path.abspath(path)
    try:
        kind = program_kind(path)
    except OSError as error:
        raise UserError(
            f"{name}: cannot be read ({error.strerror}).",
            hint="inpod must see what kind of program it is: make it readable.",
            exit_code=ExitCode.CANNOT_EXECUTE,
        ) from None
    if kind in WHERE:
        raise UserError(
            f"{name} {WHERE[kind]}: inpod cannot reach such programs yet.",
            hint="Build it for dynamic glibc (Go: not possible yet), or run it without inpod; see docs/limits.md.",
            exit_code=ExitCode.NOT_INTERCEPTABLE,
        )
    return path


def installation_trees(executable: str) -> tuple[str, ...]:
    """Return the folders that hold the program's own installation: local whatever the pod has there.

    They are the prefixes (what `bin` lies in) of the path as named and of the real file, and for a Python in a
    virtual environment that of its base (pyvenv.cfg). Never the root.
    """
    trees: dict[str, None] = {executable: None, os.path.realpath(executable): None}
    for path in list(trees):
        folder = Path(path).parent
        tree = folder.parent if folder.name in ("bin", "sbin") else folder
        trees[str(tree)] = None
        trees.update(dict.fromkeys(_base_of_environment(tree)))
    return tuple(tree for tree in trees if tree not in ("/", "/usr", ""))


def _base_of_environment(tree: Path) -> list[str]:
    try:
        lines = (tree / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip():
            return [str(Path(os.path.realpath(value.strip())).parent)]
    return []
