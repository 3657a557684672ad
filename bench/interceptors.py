"""What a traced call takes, of this machine and of the pod."""

import json
import statistics
from pathlib import Path
from typing import Literal

from bench.exec import inpod, output_of, serving
from bench.target import FILES, POD_ADDRESS, SERVICE_PORT, Target, ready

Side = Literal["native", "inpod"]
Figures = dict[str, float]

TRACER = ("--interceptor", "tracer")

SERVER_PORT = 7341

TURNS = 6
"""Of each round: rates of one moment and the next differ by more than what is measured."""


def measure(target: Target, programs: Path, side: Side, seconds: float) -> Figures:
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
    if side == "inpod" and (programs / "go_server").exists():
        figures |= _http(target, programs, seconds)
    return figures


def _http(target: Target, programs: Path, seconds: float) -> Figures:
    """A server of Go, which the tracer alone reaches, natively and traced at once, asked in turn."""
    server = [str(programs / "go_server"), f"127.0.0.1:{SERVER_PORT}"]
    rates: list[float] = []
    extra: list[float] = []
    with ready(server), serving(target, programs, *server, config={"interceptor": "tracer"}) as session:
        ports = str(SERVER_PORT), session.local.rpartition(":")[2]
        for turn in range(TURNS):
            kept, new = {}, {}
            for port in ports[:: 1 if turn % 2 else -1]:
                load = [str(programs / "http_load"), "127.0.0.1", port]
                kept[port] = json.loads(output_of([*load, "16", str(seconds / 3), "0", "/", "kept"]))["per_s"]
                new[port] = json.loads(output_of([*load, "1", str(seconds / 3), "0", "/", "new"]))["p50_us"]
            native, traced = ports
            rates.append(kept[traced] / kept[native])
            extra.append(new[traced] - new[native])
    return {"traced_http": statistics.median(rates), "traced_http_new": statistics.median(extra)}
