"""The program's environment: the target's, over this machine's, without what belongs to the machine."""

import fnmatch
import re
from collections.abc import Callable, Mapping

from inpod.errors import UserError

MACHINES_OWN = (
    *("PATH", "HOME", "PWD", "OLDPWD", "SHELL", "SHLVL", "USER", "LOGNAME", "TERM", "TMPDIR", "HOSTNAME", "_"),
    *("CLASSPATH", "JAVA_HOME", "JAVA_EXE", "JAVA_TOOL_OPTIONS", "JRE_HOME", "JAVA_VERSION", "JDK_JAVA_OPTIONS"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHON_VERSION", "PYTHON_PIP_VERSION", "VIRTUAL_ENV", "GPG_KEY"),
    *("GOPATH", "GOROOT", "GOTOOLCHAIN", "NODE_PATH", "NODE_VERSION", "YARN_VERSION"),
    *("GEM_HOME", "GEM_PATH", "BUNDLE_*", "RUBY*", "RBENV_*", "DOTNET_*", "RUST_LOG", "CARGO_HOME", "RUSTUP_HOME"),
    *("LD_*", "INPOD_*", "MIRRORD_*", "XDG_*"),
)
"""Names (globs) that are never taken from the target: the program's tools are those of this machine."""


def program_environment(
    remote: Mapping[str, str], local: Mapping[str, str], *, include: str | None = None, exclude: str | None = None
) -> dict[str, str]:
    """Return the environment to start the program with.

    Args:
        include: Globs ("A*;B"): only these of the target's variables; None for all.
        exclude: Globs: all but these; None for none. Not together with `include`.
    """
    own = _matcher(";".join(MACHINES_OWN))
    wanted = _matcher(include) if include is not None else None
    unwanted = _matcher(exclude) if exclude is not None else None
    taken = {
        name: value
        for name, value in remote.items()
        if not own(name) and (wanted is None or wanted(name)) and not (unwanted is not None and unwanted(name))
    }
    return {name: value for name, value in local.items() if name != "INPOD_SESSION"} | taken


def check_filters(include: str | None, exclude: str | None) -> None:
    """Refuse what cannot be meant.

    Raises:
        UserError: Both lists are given.
    """
    if include is not None and exclude is not None:
        raise UserError(
            "Environment variables can be included or excluded, not both.",
            hint="Keep one of feature.env.include (-s) and feature.env.exclude (-x).",
        )


def _matcher(globs: str) -> Callable[[str], object]:
    patterns = [fnmatch.translate(glob.strip().replace("[", "[[]")) for glob in globs.split(";") if glob.strip()]
    return re.compile("|".join(patterns) or r"(?!)").fullmatch
