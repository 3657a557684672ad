"""`skip_processes` and the like: programs that stay this machine's, while what they start stands in the target."""

import os

BUILD_TOOLS = (
    "air", "as", "asm", "bazel", "bazel-real", "c++", "cargo", "cargo-watch", "cc", "cc1", "cc1plus", "cgo", "clang", "clang++",
    "collect2", "compile", "debugserver", "dlv", "g++", "gcc", "git", "go", "ld", "link", "rustc", "rustup",
)  # fmt: skip
"""Compilers and their parts, version control, debuggers: they fetch and read what is this machine's."""


def skipped_names(
    processes: str | list[str] | None, extra: str | list[str] | None, *, build_tools: bool
) -> tuple[str, ...]:
    """Return names of executables, without folders.

    Args:
        processes: A list, or names with ";" between.
        extra: Build tools that are not in our list; likewise.
    """
    named = _listed(processes)
    tools = (*BUILD_TOOLS, *_listed(extra)) if build_tools else ()
    return tuple(dict.fromkeys(name.strip() for name in (*named, *tools) if name.strip()))


def _listed(names: str | list[str] | None) -> list[str]:
    return names.split(";") if isinstance(names, str) else names or []


def is_skipped(names: tuple[str, ...], executable: str, called: str) -> bool:
    """Return whether a program is one of those, by its file or by what it is called as."""
    return bool({os.path.basename(os.path.realpath(executable)), os.path.basename(called)} & set(names))
