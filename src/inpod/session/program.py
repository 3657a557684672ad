"""Starts the program of a session.

One that only the pod has is started as every child that only the pod has (native/ops/programs): by a program of this
machine under the interceptor, here env(1), which becomes it. Which paths are the pod's is decided there too (native/rules),
so a shell says before whether it is there.
"""

import asyncio
import errno
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from inpod.errors import ExitCode, UserError
from inpod.launch.command import SHELL
from inpod.launch.environment import program_environment
from inpod.launch.guardian import Guardian
from inpod.launch.process import Process, start
from inpod.session.plan import Plan
from inpod.session.tracer import TRACE, intercepted_environment

LOOK = '[ -e "$0" ] || exit 127; [ -f "$0" ] && [ -x "$0" ] || exit 126'

LOOK_LIMIT_S = 60.0
"""Longest that the pod may take to say whether it has a program."""

REFUSALS = {
    ExitCode.COMMAND_NOT_FOUND: (
        "command not found, neither on this machine nor in the pod.",
        "Write its path as the pod has it; below /usr, /opt and the like, or called *.sh, *.py …, it must be on this machine.",
    ),
    ExitCode.CANNOT_EXECUTE: (
        "is in the pod, but may not be executed.",
        "A program needs its x bit: chmod +x in its image.",
    ),
}


def environment_of(plan: Plan, folder: Path, remote: Mapping[str, str]) -> dict[str, str]:
    """Return what the program is started with: the target's variables, and those that bring the interceptor."""
    environment = program_environment(remote, os.environ, plan.env)
    return environment | intercepted_environment(plan.native, folder, environment, plan.executable, plan.interceptor)


async def look_in_pod(plan: Plan, environment: Mapping[str, str]) -> None:
    """Look whether the pod has the program.

    Raises:
        UserError: It has not, or it may not be executed.
    """
    name = plan.argv[0]
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            ["env", SHELL, "-c", LOOK, name],
            executable=_executable(plan),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LOOK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # the start itself says more
    for code, (what, hint) in REFUSALS.items():
        if done.returncode == code:
            raise UserError(f"{name}: {what}", hint=hint, exit_code=code)


def start_program(
    plan: Plan, environment: Mapping[str, str], guardian: Guardian, descriptor_limit: tuple[int, int]
) -> Process:
    """Start it.

    Raises:
        UserError: It cannot be executed.
    """
    argv = ("env", *plan.argv) if plan.is_pods else plan.argv
    try:
        return start(_executable(plan), argv, environment, guardian, descriptor_limit=descriptor_limit)
    except OSError as error:
        is_missing = error.errno == errno.ENOENT
        raise UserError(
            f"Cannot execute '{plan.executable}': {error.strerror or error}",
            hint="Check the command after '--'.",
            exit_code=ExitCode.COMMAND_NOT_FOUND if is_missing else ExitCode.CANNOT_EXECUTE,
        ) from None


def _executable(plan: Plan) -> str:
    return str(plan.native / TRACE) if plan.interceptor == "tracer" else plan.executable
