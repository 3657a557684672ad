"""The program's environment: the target's over this machine's, without what belongs to the machine."""

import re
from collections.abc import Callable, Mapping

from inpod.config.env import EnvFilter

ALWAYS_OWN = ("LD_*", "GLIBC_TUNABLES", "GCONV_PATH", "LOCPATH", "INPOD_*", "MIRRORD_*")
"""What makes processes run at all, and our own: never taken from the target."""

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
    *ALWAYS_OWN,
)
"""Names (globs) that are not taken from the target unless they are asked for: the program's tools are those of this machine."""


ALL = EnvFilter()


def program_environment(remote: Mapping[str, str], local: Mapping[str, str], wanted: EnvFilter = ALL) -> dict[str, str]:
    """Return the environment to start the program with."""
    taken = {**_taken(remote, wanted), **wanted.file}
    for name in taken:
        for expression, value in wanted.mapping:
            if re.search(expression, name):
                taken[name] = value
                break
    every = {**local, **taken, **wanted.overrides}
    left_out = {"INPOD_SESSION", *wanted.unset}
    return {name: value for name, value in every.items() if name.upper() not in left_out}


def _taken(remote: Mapping[str, str], wanted: EnvFilter) -> dict[str, str]:
    """Return the target's variables that the program gets."""
    own = _matcher(";".join(MACHINES_OWN))
    always_own = _matcher(";".join(ALWAYS_OWN))
    included = "*" if wanted.include is None else wanted.include
    by_name = {glob.strip() for glob in included.split(";")}
    is_included, is_excluded = _matcher(included), _matcher(wanted.exclude or "")
    return {
        name: value
        for name, value in remote.items()
        if is_included(name) and not is_excluded(name) and not (always_own(name) if name in by_name else own(name))
    }


def _matcher(globs: str) -> Callable[[str], object]:
    """Return what tells whether a name matches one of `globs`; `*` and `?` are special, nothing else."""
    patterns = [
        re.escape(glob.strip()).replace(r"\*", ".*").replace(r"\?", ".") for glob in globs.split(";") if glob.strip()
    ]
    return re.compile("|".join(patterns) or r"(?!)", re.DOTALL).fullmatch
