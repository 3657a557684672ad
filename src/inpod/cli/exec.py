"""`inpod exec`: run a program in the place of a target."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inpod.cli.help import Parser
from inpod.cli.target import behind_program, direct_target, left_aside, not_needed, target_of
from inpod.config.mirrord import FILE as MIRRORDS
from inpod.errors import UserError

if TYPE_CHECKING:
    from inpod.cli.progress import Mode
    from inpod.session.plan import Plan
    from inpod.targets.base import Target

DESCRIPTION = """\
Run CMD here as if it were inside the target: with its environment and files, its way out to the network, its names,
and a copy of its incoming traffic (with --steal the traffic itself).
"""

EXAMPLES = """\
examples:
  inpod exec -t deployment/api -- python app.py           a copy of a pod's traffic
  inpod exec -t pod/api-7d9f8 --steal -- node server.js   the traffic itself
  inpod exec -t pid/4711 -- ./server                      a process of this machine

In mirror mode too, what the program sends out is real: a copied request that writes to a database writes twice.
"""


def add_to(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "exec",
        help="run a program in the place of a pod",
        description=DESCRIPTION,
        usage="inpod exec -t TARGET [OPTION ...] -- CMD [ARG ...]",
        epilog=EXAMPLES,
    )
    parser.set_defaults(run=run, parser=parser, before_dashes=0)
    where = parser.add_argument_group("where")
    where.add_argument(
        "-t",
        "--target",
        help="pod/NAME[/container/C], deployment/NAME[/container/C], pid/PID or netns/NAME[/pid/PID]",
    )
    where.add_argument(
        "-n", "--target-namespace", metavar="NAMESPACE", help="the pod's namespace (default: that of the context)"
    )
    where.add_argument("--context", metavar="NAME", help="the context of the kubeconfig (default: the current one)")
    what = parser.add_argument_group("what the program gets")
    what.add_argument("--steal", action="store_true", help="new connections come to the program (default: a copy does)")
    what.add_argument(
        "--fs-mode",
        metavar="MODE",
        help="read: the target's files are read, writes stay here (default); local: all files are this machine's; "
        "localwithoverrides: but for the target's mounts",
    )
    what.add_argument(
        "-s",
        "--override-env-vars-include",
        metavar="GLOBS",
        help="take only these variables of the target: 'APP_*;DB_URL'",
    )
    what.add_argument(
        "-x", "--override-env-vars-exclude", metavar="GLOBS", help="take all variables of the target but these"
    )
    what.add_argument(
        "--env-file",
        metavar="FILE",
        type=Path,
        help="lines NAME=VALUE: variables that count before the target's",
    )
    what.add_argument("--no-outgoing", action="store_true", help="nothing leaves from the target")
    what.add_argument("--no-tcp-outgoing", action="store_true", help="TCP leaves from this machine")
    what.add_argument("--no-udp-outgoing", action="store_true", help="UDP leaves from this machine")
    what.add_argument("--no-remote-dns", action="store_true", help="names are resolved by this machine")
    agent = parser.add_argument_group("the agent (in a cluster)")
    agent.add_argument(
        "-e",
        "--ephemeral-container",
        action="store_true",
        help="put it into the target's pod, as an ephemeral container (default: a Job on the pod's node)",
    )
    agent.add_argument("-i", "--agent-image", metavar="IMAGE", help="its image: any with Python 3.11 or later")
    agent.add_argument(
        "--agent-startup-timeout", metavar="S", type=_seconds, help="seconds that it may take to start (default: 60)"
    )
    other = parser.add_argument_group("other")
    other.add_argument(
        "-f",
        "--config-file",
        metavar="FILE",
        nargs="?",
        type=Path,
        const=MIRRORDS,
        help=f"options in JSON, YAML or TOML, with mirrord's keys (without FILE: {MIRRORDS})",
    )
    other.add_argument("-k", "--key", metavar="KEY", help="what {{ key }} stands for in the file")
    other.add_argument(
        "--interceptor",
        metavar="auto|layer|tracer",
        choices=("auto", "layer", "tracer"),
        help="how the program's calls are had: by a library in it, or by the kernel (auto: as the program is built)",
    )
    other.add_argument(
        "--skip-processes",
        metavar="NAMES",
        help="leave these programs alone, but not what they start: 'make;protoc' (build tools are)",
    )
    other.add_argument(
        "--progress",
        metavar="auto|plain|json|off",
        choices=("auto", "plain", "json", "off"),
        default="auto",
        help="how steps are shown on stderr (auto: a spinner on a terminal, else plain lines)",
    )
    other.add_argument("-h", "--help", action="help", help="show this and exit")
    # mirrord's, of which two ask for what is so anyhow, and two say nothing to this agent.
    for name in ("--no-telemetry", "--disable-version-check"):
        other.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    for names in (("-l", "--agent-log-level"), ("--agent-ttl",)):
        other.add_argument(*names, help=argparse.SUPPRESS)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Run it; return the program's exit status."""
    from inpod.launch.command import find_command, interceptor_for, not_found, search_folders

    if options.config_file is not None and not os.path.exists(options.config_file):
        raise UserError(
            f"There is no configuration {options.config_file}.",
            hint="Write its path behind -f, and -- before the program.",
        )
    if not options.command:
        raise UserError("There is no program to run.", hint="Write it at the end: inpod exec -t TARGET -- CMD ARGS.")
    folder = _folder()
    search = os.environ.get("PATH", "")
    command = find_command(options.command, search)
    # Before the session's modules are loaded: the agent loads its own at the same time.
    target = direct_target(options) if options.target else None

    from inpod.config.load import Options, read, settings
    from inpod.config.mirrord import unread
    from inpod.launch.debuggers import debugger_ports
    from inpod.session.plan import Plan
    from inpod.session.tracer import native_folder

    content = read(options.config_file, options.key)
    file = content.file
    chosen = settings(
        Options(
            target=options.target,
            namespace=options.target_namespace,
            context=options.context,
            image=options.agent_image,
            is_ephemeral=options.ephemeral_container,
            startup_timeout_s=options.agent_startup_timeout,
            steal=options.steal,
            files=options.fs_mode,
            env_include=options.override_env_vars_include,
            env_exclude=options.override_env_vars_exclude,
            env_file=options.env_file,
            interceptor=options.interceptor,
            skip_processes=options.skip_processes,
            outgoing_tcp=not (options.no_outgoing or options.no_tcp_outgoing),
            outgoing_udp=not (options.no_outgoing or options.no_udp_outgoing),
            remote_names=not options.no_remote_dns,
        ),
        file,
    )
    if command.is_pods and chosen.files == "local":
        raise not_found(command.argv[0])
    elsewhere = [text for text in (unread(os.environ, options.config_file), behind_program(options)) if text]
    aside = "" if target is None else left_aside(file, options.config_file, options.target)
    target = target or target_of(options, file, chosen, elsewhere)
    http_filter = chosen.http_filter
    if http_filter is not None:
        from inpod.session.incoming.http_filter import compile_filter
    plan = Plan(
        argv=command.argv,
        executable=command.executable,
        native=native_folder(),
        mode=chosen.incoming,
        files=chosen.files,
        env=chosen.env,
        trees=chosen.trees,
        ports=chosen.ports,
        filter=None if http_filter is None else compile_filter(http_filter),
        filtered_ports=tuple(http_filter.ports or ()) if http_filter is not None else (),
        redirect=chosen.redirect,
        flush=chosen.flush,
        steals_probes=chosen.steals_probes,
        on_conflict=chosen.on_conflict,
        local_ports=debugger_ports(options.command, os.environ),
        local_trees=(*command.trees, *search_folders(search), folder),
        interceptor=interceptor_for(command, chosen.interceptor),
        follows=chosen.interceptor != "layer",
        way=chosen.way,
        hostname=chosen.hostname,
        skipped=chosen.skipped,
        is_pods=command.is_pods,
    )
    return _run_session(plan, target, options.progress, [*elsewhere, aside, not_needed(content, options)])


def _run_session(plan: "Plan", target: "Target", progress: "Mode", notes: Sequence[str]) -> int:
    from inpod.cli.loop import run as run_loop
    from inpod.cli.progress import show
    from inpod.config.processes import is_skipped
    from inpod.launch.process import end_like
    from inpod.session.events import Events, Note
    from inpod.session.run import run as run_session

    events = Events()
    with show(events, progress):
        for note in filter(None, notes):
            events.emit(Note(note, "info"))
        if is_skipped(plan.skipped, plan.executable, plan.argv[0]):
            name = os.path.basename(plan.argv[0])
            events.emit(
                Note(f"{name} itself stays outside the pod (skip_build_tools); what it starts stands in it.", "info")
            )
        status = run_loop(run_session(plan, target, events), lambda text: events.emit(Note(text)))
    return end_like(status)


def _folder() -> str:
    """Return the working directory."""
    try:
        return os.getcwd()
    except OSError as error:
        raise UserError(
            f"The folder that inpod was started in is gone: {error.strerror}.", hint="Change to another (cd)."
        ) from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds above 0")
    return value
