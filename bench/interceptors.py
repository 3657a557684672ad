"""What a traced call takes, of this machine and of the pod."""

import json
from pathlib import Path
from typing import Literal

from bench.exec import inpod, output_of
from bench.target import FILES, POD_ADDRESS, SERVICE_PORT, Target

Side = Literal["native", "inpod"]
Figures = dict[str, float]

TRACER = ("--interceptor", "tracer")


def measure(target: Target, programs: Path, side: Side) -> Figures:
    """Return the figures of one side."""
    local = programs / "small"
    local.write_bytes(b"x" * 200)
    files, client = str(programs / "files"), str(programs / "client")
    figures: Figures = {}
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
