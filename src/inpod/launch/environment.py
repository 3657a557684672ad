"""The program's environment: the target's over this machine's, without what belongs to the machine."""

import re
from collections.abc import Callable, Mapping

MACHINES_OWN = (
    # where this machine has its things, and who sits at it
    *("PATH", "HOME", "HOMEPATH", "PWD", "OLDPWD", "SHELL", "SHLVL", "USER", "LOGNAME", "TERM", "TMPDIR", "XDG_*", "_"),
    # the tools that run the program, and the debugger that came with them
    *("CLASSPATH", "JAVA_HOME", "JAVA_EXE", "JAVA_VERSION", "JRE_HOME"),
    *("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHON_VERSION", "PYTHON_PIP_VERSION", "PYTHON_SHA256", "VIRTUAL_ENV", "GPG_KEY"),
    *("NODE_PATH", "NODE_OPTIONS", "NODE_VERSION", "YARN_VERSION"),
    *("GOPATH", "GOROOT", "GOTOOLCHAIN", "GOLANG_VERSION"),
    *("GEM_HOME", "GEM_PATH", "BUNDLE_*", "RUBY*", "RBENV_*"),
    *("DOTNET_*", "RUST_LOG", "CARGO_HOME", "RUSTUP_HOME", "PHP_INI_DIR", "PERL5LIB"),
    # what makes processes run at all, and our own
    *("LD_*", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "INPOD_*", "MIRRORD_*"),
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
    wanted = _matcher("*" if include is None else include)
    unwanted = _matcher(exclude or "")
    taken = {name: value for name, value in remote.items() if wanted(name) and not unwanted(name) and not own(name)}
    return {name: value for name, value in local.items() if name != "INPOD_SESSION"} | taken


def _matcher(globs: str) -> Callable[[str], object]:
    """Return what tells whether a name matches one of `globs`; `*` and `?` are special, nothing else."""
    patterns = [
        re.escape(glob.strip()).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs.split(";") if glob.strip()
    ]
    return re.compile("|".join(patterns) or r"(?!)", re.DOTALL).fullmatch
