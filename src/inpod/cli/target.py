"""The target of `inpod exec`: in a cluster, or of this machine.

Options that only a target in a cluster can follow are refused beside one of this machine, wherever each was named. But
`-t` goes before a file that may be made for another target: then the file's are left aside, and a line says so.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inpod.errors import UserError

if TYPE_CHECKING:
    from inpod.config.load import Content, Settings
    from inpod.config.schema import File
    from inpod.targets.base import Target
    from inpod.targets.spec import DirectSpec


def direct_target(options: argparse.Namespace) -> "Target | None":
    """Return the target of `-t` when it is one of this machine; its agent starts.

    Raises:
        UserError: It was named together with an option that is about a cluster.
    """
    from inpod.targets.spec import NetnsTarget, ProcessTarget, parse_target

    spec = parse_target(options.target)
    if not isinstance(spec, ProcessTarget | NetnsTarget):
        return None
    _refuse(options.target, _of_command(options))
    return _direct(spec)


def target_of(options: argparse.Namespace, file: "File", chosen: "Settings", elsewhere: Sequence[str]) -> "Target":
    """Return the target that `-t` names in a cluster, or the file anywhere.

    Args:
        elsewhere: Where else somebody may think that it was named, as sentences.

    Raises:
        UserError: There is none, or it is of this machine and was named together with an option that is about a cluster.
    """
    from inpod.targets.spec import NetnsTarget, ProcessTarget, parse_target

    if not chosen.target:
        raise UserError(
            "There is no target.",
            hint=" ".join(
                ("Name one with -t; 'inpod ls' lists those of a cluster, pid/PID is a process here.", *elsewhere)
            ),
        )
    spec = parse_target(chosen.target)
    if isinstance(spec, ProcessTarget | NetnsTarget):
        _refuse(chosen.target, [*_of_command(options), *_of_file(file)])
        return _direct(spec)
    from inpod.targets.kube.container import DEFAULT_AGENT_IMAGE
    from inpod.targets.kube.target import STARTUP_LIMIT_S, KubeTarget

    return KubeTarget(
        spec,
        kube_namespace=chosen.namespace,
        context=chosen.context,
        image=chosen.image or DEFAULT_AGENT_IMAGE,
        is_ephemeral=chosen.is_ephemeral,
        startup_timeout_s=chosen.startup_timeout_s or STARTUP_LIMIT_S,
    )


def left_aside(file: "File", path: Path | None, target: str) -> str:
    """Return, in a line, what of a file a target of this machine that `-t` names cannot follow; "" for nothing."""
    found = _of_file(file)
    return f"Left aside, for {target} is no target in a cluster: {', '.join(found)} of {path}." if found else ""


def not_needed(content: "Content", options: argparse.Namespace) -> str:
    """Return, in a line, what of mirrord's inpod does without, and what says nothing here; "" for nothing."""
    found = [f"{', '.join(content.aside)} of {options.config_file}"] if content.aside else []
    found += [name for name, value in (("-l", options.agent_log_level), ("--agent-ttl", options.agent_ttl)) if value]
    lines = [f"Left aside, inpod does without: {', '.join(found)}."] if found else []
    if options.key is not None and not content.names_key:
        where = (
            f": there is no {{{{ key }}}} in {options.config_file}" if options.config_file else " without a file (-f)"
        )
        lines.append(f"-k says nothing{where}.")
    return " ".join(lines)


def behind_program(options: argparse.Namespace) -> str:
    """Return, in a line, what of the program's words may have been meant otherwise; "" for nothing."""
    if options.before_dashes > 1:
        program = " ".join(options.command[: options.before_dashes])
        return (
            f"The -- behind '{program}' is inpod's: the program does not get it. Write one before it, too, to keep it."
        )
    if options.is_divided:
        return ""
    known = {name for name in options.parser.long_options() if name != "--help"}
    found = [word for word in options.command[1:] if word.partition("=")[0] in known]
    if not options.target and not options.config_file:
        found += [word for word in options.command[1:] if word in ("-t", "-f")]
    if not found:
        return ""
    return f"{found[0]} stands behind {options.command[0]} and is its option: inpod's own stand before the program."


def _of_command(options: argparse.Namespace) -> list[str]:
    """Return the options about a cluster that the command line has."""
    named = {
        "-n": options.target_namespace,
        "--context": options.context,
        "-i": options.agent_image,
        "-e": options.ephemeral_container,
        "--agent-startup-timeout": options.agent_startup_timeout,
    }
    return [name for name, value in named.items() if value]


def _of_file(file: "File") -> list[str]:
    """Return the keys about a cluster that a file has."""
    from inpod.config.target import as_target

    named = {
        "target.namespace": as_target(file.target).namespace,
        "kube_context": file.kube_context,
        "agent.image": file.agent.image,
        "agent.ephemeral": file.agent.ephemeral,
        "agent.startup_timeout": file.agent.startup_timeout,
    }
    return [name for name, value in named.items() if value]


def _refuse(target: str, named: list[str]) -> None:
    if named:
        name = named[0]
        raise UserError(
            f"{name} is for targets in a cluster, and {target} is one of this machine.",
            hint=f"Leave {name} out, or name the target as pod/NAME or deployment/NAME.",
        )


def _direct(spec: "DirectSpec") -> "Target":
    from inpod.targets.direct import DirectTarget

    target = DirectTarget(spec)
    # Before the progress is shown: sudo may ask for a password.
    target.get_rights()
    target.start_soon()
    return target
