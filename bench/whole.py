"""Whole programs that do nothing with the pod: the processor time that the layer and the tracer add.

Each run is one of a set: natively, under the layer, under the tracer, one right after the other, so that all see the
machine in the same mood. What counts is the ratio within a set. The time is the program's and that of all it starts, and
what the session used meanwhile: the tracer works there.
"""

import contextlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.exec import environment, inpod
from bench.target import Target

RUNS = 15
"""Fewest sets."""

CONFIDENCE = 0.95

SIDES = ("native", "layer", "tracer")

GOAL = "layer <= 1.05 x native"

_RUNNER = """
import json, os, resource, subprocess, sys
print(json.dumps(os.getppid()), flush=True)
for line in sys.stdin:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(json.loads(line), stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime), flush=True)
"""
"""Runs commands that it is told, and says what processor time each took."""


@dataclass(frozen=True)
class Whole:
    """One program's figures, in seconds of processor time: as many for each side as there were sets."""

    name: str
    taken: dict[str, list[float]]

    def ratios(self, side: str) -> list[float]:
        """Return how many times as long as natively, set by set."""
        return [ours / native for ours, native in zip(self.taken[side], self.taken["native"], strict=True)]


def programs(folder: Path) -> dict[str, list[str]]:
    """Return what is run; programs that this machine lacks are left out."""
    shell = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true; done"
    imports = "import asyncio, http.server, json, xml.dom.minidom"
    found = {
        "shell that runs 20 programs": ["sh", "-c", shell],
        "find /usr/lib": ["find", "/usr/lib", "-name", "none"],
        "python3 and some imports": ["/usr/bin/python3", "-c", imports],
        "node -e 0": ["node", "-e", "0"],
        "java -version": ["java", "-version"],
        "go build, nothing to do": ["go", "build", "-C", str(_go_program(folder)), "-o", os.devnull],
    }
    return {name: command for name, command in found.items() if shutil.which(command[0])}


def measure(target: Target, folder: Path, runs: int = RUNS) -> list[Whole]:
    """Run every program so often on each side, after once to fill the caches."""
    results = []
    with contextlib.ExitStack() as undo:
        commands = {"native": _native(), **{side: _intercepted(target, side) for side in SIDES[1:]}}
        runners = {side: undo.enter_context(_Runner.running(command)) for side, command in commands.items()}
        for name, command in programs(folder).items():
            taken: dict[str, list[float]] = {side: [] for side in SIDES}
            for turn in range(runs + 1):
                print(f"\r{name}: {turn} of {runs} ", end="", file=sys.stderr, flush=True)
                # Nobody is always the first.
                order = SIDES[turn % len(SIDES) :] + SIDES[: turn % len(SIDES)]
                for side in order:
                    seconds = runners[side].run(command)
                    if turn:
                        taken[side].append(seconds)
            results.append(Whole(name, taken))
    print(file=sys.stderr)
    return results


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return bounds of the median, by order alone: no assumption about how figures are spread (sign test)."""
    ordered = sorted(values)
    count = len(ordered)
    outside, skipped = 0.0, 0
    while skipped < count // 2:
        # The chance that so few of the figures are below the median, and as much for above.
        outside += 2 * math.comb(count, skipped) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        skipped += 1
    at = max(skipped - 1, 0)
    return ordered[at], ordered[count - 1 - at]


def print_table(results: Sequence[Whole]) -> None:
    """Print medians and, of the ratios, the interval of the median."""
    width = max(len(result.name) for result in results)
    head = "processor time, ms; x native [95 % interval]"
    print(
        f"\n{head:{max(width, len(head))}}  {'native':>8} {'layer':>8} {'tracer':>8}   layer x native       tracer x native"
    )
    for result in results:
        medians = " ".join(f"{statistics.median(result.taken[side]) * 1e3:8.1f}" for side in SIDES)
        ratios = "   ".join(_ratio(result.ratios(side)) for side in SIDES[1:])
        print(f"{result.name:{max(width, len(head))}}  {medians}   {ratios}   {len(result.taken['native'])} sets")
    print(f"goal: {GOAL}")


def as_json(results: Sequence[Whole]) -> list[dict[str, object]]:
    """Return the figures, to be kept."""
    rows: list[dict[str, object]] = []
    for result in results:
        row: dict[str, object] = {"name": result.name, "seconds": result.taken}
        for side in SIDES[1:]:
            ratios = result.ratios(side)
            row[side] = {"times_native": statistics.median(ratios), "interval": interval(ratios)}
        rows.append(row)
    return rows


def _ratio(ratios: Sequence[float]) -> str:
    low, high = interval(ratios)
    return f"{statistics.median(ratios):5.2f} [{low:.2f}, {high:.2f}]"


def _native() -> list[str]:
    return ["/usr/bin/python3", "-c", _RUNNER]


def _intercepted(target: Target, side: str) -> list[str]:
    return inpod(target, *_native(), options=("--interceptor", side))


def _go_program(folder: Path) -> Path:
    home = folder / "go_program"
    home.mkdir(exist_ok=True)
    (home / "go.mod").write_text("module bench\n")
    (home / "main.go").write_text('package main\n\nimport "fmt"\n\nfunc main() { fmt.Println() }\n')
    return home


class _Runner:
    """A process that runs commands on one side."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        parent = self._answer()
        # The session, where there is one. CPUCLOCK_SCHED of linux/posix-timers.h: threads that have ended count too.
        self._session_clock = None if parent == os.getpid() else (~int(parent) << 3) | 2

    @staticmethod
    @contextmanager
    def running(command: Sequence[str]) -> Iterator["_Runner"]:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()
        ) as process:
            try:
                yield _Runner(process)
            finally:
                assert process.stdin is not None
                process.stdin.close()

    def run(self, command: Sequence[str]) -> float:
        """Return the seconds of processor time that a command took."""
        before = self._session_s()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        own = self._answer()
        return own + self._session_s() - before

    def _session_s(self) -> float:
        return 0.0 if self._session_clock is None else time.clock_gettime(self._session_clock)

    def _answer(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a run ended early, with status {self._process.wait()}")
        return float(json.loads(line))
