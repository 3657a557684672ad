"""What a traced call takes, of this machine and of the pod."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from bench.exec import inpod, output_of, serving
from bench.target import FILES, POD_ADDRESS, SERVICE_PORT, Target, ready

Side = Literal["native", "inpod"]
Figures = dict[str, float]

TRACER = ("--interceptor", "tracer")


SERVER_PORT = 7341


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
    if (programs / "go_server").exists():
        with _server(target, programs, side) as port:
            load = [str(programs / "http_load"), "127.0.0.1", port]
            kept, new = (["16", str(seconds), "0", "/", "kept"], ["1", str(seconds), "0", "/", "new"])
            figures["traced_http"] = json.loads(output_of([*load, *kept]))["per_s"]
            figures["traced_http_new"] = json.loads(output_of([*load, *new]))["p50_us"]
    return figures


@contextmanager
def _server(target: Target, programs: Path, side: Side) -> Iterator[str]:
    """Run the server of Go, which the tracer alone reaches; yields its port of this machine."""
    server = [str(programs / "go_server"), f"127.0.0.1:{SERVER_PORT}"]
    if side == "native":
        with ready(server):
            yield str(SERVER_PORT)
    else:
        with serving(target, programs, *server, config={"interceptor": "tracer"}) as session:
            yield session.local.rpartition(":")[2]
