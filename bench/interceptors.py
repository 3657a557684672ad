"""What the layer and the tracer cost a program that does nothing with the pod, and what a traced call of the pod takes."""

import json
from pathlib import Path
from typing import Literal

from bench.exec import inpod, output_of
from bench.target import FILES, POD_ADDRESS, SERVICE_PORT, Target

Side = Literal["native", "inpod"]
Figures = dict[str, float]

RUNS = 15

TRACER = ("--interceptor", "tracer")

_CPU = """
import json, os, subprocess, sys
taken = []
for _ in range(int(sys.argv[1])):
    before = os.times()
    subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    taken.append(after.children_user - before.children_user + after.children_system - before.children_system)
print(json.dumps({"ms": sum(taken) / len(taken) * 1e3}))
"""
"""Processor time of a command, over as many runs as its first argument says."""

PROGRAMS = {
    "layer_find": ["find", "/usr/lib", "-name", "none"],
    "layer_python": ["/usr/bin/python3", "-c", "import asyncio, http.server, json, xml.dom.minidom"],
    "layer_shell": ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do /bin/true; done"],
}


def measure(target: Target, programs: Path, side: Side) -> Figures:
    """Return the figures of one side."""
    local = programs / "small"
    local.write_bytes(b"x" * 200)
    files, client = str(programs / "files"), str(programs / "client")
    figures = {}
    for key, command in PROGRAMS.items():
        runs = ["/usr/bin/python3", "-c", _CPU, str(RUNS), *command]
        figures[key] = json.loads(output_of(runs if side == "native" else inpod(target, *runs)))["ms"]
    here = {"traced_call": [str(programs / "calls"), "200"], "traced_local": [files, "read", str(local), "2000"]}
    there = {
        "traced_pod": [files, "read", f"{FILES}/small", "2000"],
        "traced_connect": [client, "connect", POD_ADDRESS, str(SERVICE_PORT), "500"],
    }
    for key, command in (here | there).items():
        native = command if key in here else target.inside(*command)
        run = native if side == "native" else inpod(target, *command, options=TRACER)
        figures[key] = json.loads(output_of(run))["p50_us"]
    return figures
