"""`python -m bench`: measure, print a table, write JSON."""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import whole
from bench.measure import Figures, Measure, Side
from bench.rows import ROWS, Row
from bench.target import is_possible, running_target

PROGRAMS = Path(__file__).parent / "programs"
SIDES: tuple[Side, ...] = ("native", "inpod")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each row; the table has their medians")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each load")
    parser.add_argument("--runs", type=int, default=whole.RUNS, help="sets of runs of each whole program (%(default)s)")
    parser.add_argument(
        "--only",
        help="these groups: start,files,connect,ping,bulk,dns,steal,filter,mirror,http,interceptors,relay,programs",
    )
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the figures go (%(default)s)")
    options = parser.parse_args()
    if not is_possible():
        print("The bench makes network namespaces and an agent for a process: run it as root.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder)
        build(programs)
        with running_target(programs) as target:
            measure = Measure(target, programs, options.seconds)
            only = options.only.split(",") if options.only else None
            samples = take(measure, options.rounds, only)
            wholes = whole.measure(target, programs, options.runs) if only is None or "programs" in only else []
    results = [result(row, samples) for row in ROWS if any((row.key, side) in samples for side in SIDES)]
    if results:
        print_table(results)
    if wholes:
        whole.print_table(wholes)
    about: dict[str, object] = {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    about |= {"load": os.getloadavg(), "rounds": options.rounds, "seconds": options.seconds}
    options.json.write_text(
        json.dumps({"about": about, "rows": results, "programs": whole.as_json(wholes)}, indent=1) + "\n"
    )
    return 0


def build(folder: Path) -> None:
    """Compile the programs."""
    flags = ["-O2", "-Wall", "-Wextra", "-Wno-unused-function", "-pthread"]
    for source in PROGRAMS.glob("*.c"):
        subprocess.run(["gcc", *flags, "-o", str(folder / source.stem), str(source)], check=True)
    if shutil.which("go"):
        build_go = ["go", "build", "-o", str(folder / "go_server"), str(PROGRAMS / "server.go")]
        subprocess.run(build_go, check=True, env=os.environ | {"CGO_ENABLED": "0"})


def take(measure: Measure, rounds: int, only: list[str] | None) -> dict[tuple[str, Side], list[float]]:
    """Return all figures of each row. Sides alternate, so that both see the machine in the same moods."""
    samples: dict[tuple[str, Side], list[float]] = {}
    for turn in range(rounds):
        for name, group in measure.groups().items():
            if only is not None and name not in only:
                continue
            for side in SIDES:
                print(f"\rround {turn + 1} of {rounds}: {name:8} {side:8}", end="", file=sys.stderr, flush=True)
                figures: Figures
                try:
                    figures = group(side)
                except (RuntimeError, subprocess.SubprocessError, OSError) as error:
                    print(f"\n{name}, {side}: {error}", file=sys.stderr)
                    continue
                for key, figure in figures.items():
                    samples.setdefault((key, side), []).append(figure)
    print(file=sys.stderr)
    return samples


def result(row: Row, samples: dict[tuple[str, Side], list[float]]) -> dict[str, object]:
    """Return a row with its figures."""
    figures: dict[str, object] = {"key": row.key, "name": row.name, "unit": row.unit}
    medians: dict[Side, float] = {}
    for side in SIDES:
        if found := samples.get((row.key, side)):
            medians[side] = statistics.median(found)
            figures |= {side: medians[side], f"{side}_samples": found}
        elif side == "native" and not row.has_native:
            figures |= {"native": "", "times_native": ""}
    if len(medians) == len(SIDES):
        figures["times_native"] = row.times_native(medians["native"], medians["inpod"])
    peer = list(row.mirrord) if row.mirrord else None
    return figures | {"mirrord_times_native": peer, "goal": row.goal}


def print_table(results: list[dict[str, object]]) -> None:
    """Print the rows; `x native`: how many times slower than natively."""
    width = max(len(row.name) for row in ROWS)
    print(
        f"{'x native: times slower than natively':{width}}  {'native':>12} {'inpod':>12} {'x native':>9} {'mirrord':>11}  goal"
    )
    for row in results:
        native, inpod, times = (_number(row.get(key)) for key in ("native", "inpod", "times_native"))
        mirrord = row["mirrord_times_native"]
        peer = "-".join(_number(end) for end in mirrord) if isinstance(mirrord, list) else ""
        print(f"{row['name']:{width}}  {native:>12} {inpod:>12} {times:>9} {peer:>11}  {row['unit']:5} {row['goal']}")


def _number(value: object) -> str:
    if not isinstance(value, int | float):
        return "failed" if value is None else str(value)
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
