"""Runs parts of the tests side by side: `python -m tests.parts PART…`, each RECIPE+RECIPE… of the justfile, one after the other.

A test in a cluster waits most of its time; others compute meanwhile. A recipe that several parts have is shared by them, module
by module (`shares`), so that all parts end at about the same time. What a part says comes line by line with its name before it,
and at the end a table tells what each took. The exit status is 0 when that of every recipe is.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import shares

JUST = Path(sys.executable).with_name("just")

REST_WITHIN_S = 5
"""How long what a part has said is read after its end: something that it left may hold the pipe for ever."""


@dataclass(frozen=True)
class Outcome:
    """How a recipe of a part ended.

    Attributes:
        name: Of the recipe, after the part's number.
        processor_s: Of all that it has waited for: what it leaves to others, as a cluster's pods, is not in it.
    """

    name: str
    status: int
    wall_s: float
    processor_s: float


def run(parts: list[list[str]]) -> list[Outcome]:
    """Run all recipes of all parts to their ends, whatever becomes of the others."""
    names = [[f"{number} {recipe}" for recipe in part] for number, part in enumerate(parts, 1)]
    width = max(len(name) for part in names for name in part)
    with tempfile.TemporaryDirectory(prefix="inpod-parts-") as shared:
        environment = dict(os.environ, PYTHONUNBUFFERED="1") | {shares.FOLDER: shared}

        def run_part(part: list[str]) -> list[Outcome]:
            return [_run(name, width, environment) for name in part]

        with ThreadPoolExecutor(len(names)) as threads:
            # What cannot be started ends us, after the others: a recipe without an outcome would be one that did not fail.
            return [outcome for part in threads.map(run_part, names) for outcome in part]


def _run(name: str, width: int, environment: dict[str, str]) -> Outcome:
    started = time.monotonic()
    # A part does not go on alone; the signal comes with the end of this thread.
    command = ["setpriv", "--pdeathsig", "TERM", str(JUST), name.split()[1]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as part:
        reader = threading.Thread(target=_tell, args=[part, f"{name:<{width}} | "], daemon=True)
        reader.start()
        _, status, used = os.wait4(part.pid, 0)
        part.returncode = os.waitstatus_to_exitcode(status)
        reader.join(REST_WITHIN_S)
    return Outcome(name, part.returncode, time.monotonic() - started, used.ru_utime + used.ru_stime)


def _tell(part: "subprocess.Popen[bytes]", before: str) -> None:
    assert part.stdout is not None
    for line in part.stdout:
        # One write: lines of others come between lines.
        os.write(1, before.encode() + line.rstrip(b"\n") + b"\n")


def main() -> int:
    """Run the parts that are named, and say what each took."""
    outcomes = run([part.split("+") for part in sys.argv[1:]])
    print(f"\n{'part':<16} {'wall':>8} {'processor':>10}")
    for each in sorted(outcomes, key=lambda outcome: outcome.name):
        ended = "" if each.status == 0 else f"  FAILED ({each.status})"
        print(f"{each.name:<16} {each.wall_s:>6.0f} s {each.processor_s:>8.0f} s{ended}")
    return 1 if any(outcome.status for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
