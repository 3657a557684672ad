"""Takes the measurements: each group of rows once natively and once by inpod."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import http, interceptors, relays
from bench.exec import LIMIT_S, environment, inpod, output_of, subscribed
from bench.target import BIG_MIB, FILES, HOST_NAME, HTTP_PORT, POD_ADDRESS, RATES, SERVICE_PORT, Target, ready

Side = Literal["native", "inpod"]
Figures = dict[str, float]
"""Key of a row -> its figure, in the row's unit."""

LOCAL_SERVICE_PORT = 7331

ARRIVAL_LIMIT_S = 5.0
"""How long after the last mirrored request its copy may take, before it counts as lost."""

STARTS = 3

_PYTHON = "/usr/bin/python3"

_PYTHON_READS = f"""
import json, time
taken = []
for _ in range(2000):
    start = time.perf_counter()
    with open("{FILES}/python/small") as file: file.read()
    taken.append((time.perf_counter() - start) * 1e6)
print(json.dumps({{"p50_us": sorted(taken)[1000]}}))
"""


@dataclass(frozen=True)
class Measure:
    """Where measurements are taken.

    Attributes:
        seconds: How long each load runs.
    """

    target: Target
    programs: Path
    seconds: float

    def groups(self) -> dict[str, Callable[[Side], Figures]]:
        """Return the groups by name, in the order of the table."""
        return {
            "start": self.start,
            "files": self.files,
            "connect": self.connect,
            "ping": self.ping,
            "bulk": self.bulk,
            "dns": self.dns,
            "steal": self.steal,
            "filter": self.filter,
            "mirror": self.mirror,
            "http": self.http,
            "interceptors": self.interceptors,
            "relay": self.relay,
        }

    def start(self, side: Side) -> Figures:
        """Time from exec to the first line; the best of a few, as the first also fills caches."""
        programs = {
            "start_c": [str(self.programs / "first_line")],
            "start_python": [_PYTHON, "-c", "print('here')"],
        }
        return {
            key: min(self._first_line_ms(side, command) for _ in range(STARTS)) for key, command in programs.items()
        }

    def files(self, side: Side) -> Figures:
        """Reading what the pod has."""
        command = self._command(side, "files", "read", f"{FILES}/small", "2000")
        done = subprocess.run(command, capture_output=True, timeout=LIMIT_S, env=environment(), check=True)
        first = next(line for line in done.stderr.splitlines() if line.startswith(b"first "))
        figures = {"file_first": float(first.split()[1]), "file_again": json.loads(done.stdout)["p50_us"]}
        python = [_PYTHON, "-c", _PYTHON_READS]
        run = self.target.inside(*python) if side == "native" else inpod(self.target, *python)
        figures["python_again"] = json.loads(output_of(run))["p50_us"]
        for key, what in (("tree_first", "tree"), ("stat_first", "stat"), ("list_first", "list")):
            figures[key] = self._run(side, "files", what, f"{FILES}/{what}")["total_us"] / 1e3
        for key, block in (("big_64k", 64 << 10), ("big_1m", 1 << 20)):
            seconds = self._run(side, "files", "big", f"{FILES}/big", str(block))["total_us"] / 1e6
            figures[key] = BIG_MIB / seconds
        return figures

    def connect(self, side: Side) -> Figures:
        """Short connections."""
        return {
            what: self._run(side, "client", what, POD_ADDRESS, str(SERVICE_PORT), "500")["p50_us"]
            for what in ("connect", "echo")
        }

    def ping(self, side: Side) -> Figures:
        """Small messages to and fro."""
        to = (POD_ADDRESS, str(SERVICE_PORT))
        one = self._run(side, "client", "ping", *to, "1", str(self.seconds))
        many = self._run(side, "client", "ping", *to, "16", str(self.seconds))
        return {"ping_p50": one["p50_us"], "ping_p99": one["p99_us"], "ping_16": many["per_s"]}

    def bulk(self, side: Side) -> Figures:
        """Much data one way; the programs check every byte."""
        mib = 256
        return {
            what: mib * self._run(side, "client", what, POD_ADDRESS, str(SERVICE_PORT), str(mib))["per_s"]
            for what in ("download", "upload")
        }

    def dns(self, side: Side) -> Figures:
        """Names that the pod's name server knows: one after another, and one again and again."""
        return {
            "resolve_first": self._run(side, "client", "resolve-new", HOST_NAME, "300")["p50_us"],
            "resolve": self._run(side, "client", "resolve", HOST_NAME, "300")["p50_us"],
        }

    def steal(self, side: Side) -> Figures:
        """Calls that the local program answers; natively the pod's own does."""
        with ExitStack() as undo:
            if side == "inpod":
                undo.enter_context(subscribed(self.target, self.programs, steal=True))
            return {
                "steal_16": self._load(16)["per_s"],
                "steal_1": self._load(1)["p50_us"],
                "steal_new": self._load(8, way="new")["per_s"],
            }

    def filter(self, side: Side) -> Figures:
        """Calls on a port of which a session wants some: those that the pod answers, and those that the program does."""
        with ExitStack() as undo:
            if side == "inpod":
                undo.enter_context(
                    subscribed(self.target, self.programs, steal=True, http_filter={"path_filter": "^/mine$"})
                )
            return {
                "pass_16": self._load(16)["per_s"],
                "pass_1": self._load(1)["p50_us"],
                "pass_new": self._load(8, way="new")["per_s"],
                "match_16": self._load(16, path="/mine")["per_s"],
                "match_1": self._load(1, path="/mine")["p50_us"],
            }

    def mirror(self, side: Side) -> Figures:
        """Calls that the pod answers while the local program gets copies."""
        with ExitStack() as undo:
            session = None
            if side == "inpod":
                session = undo.enter_context(subscribed(self.target, self.programs, steal=False))
            figures: Figures = {}
            before = 0
            for rate, got in zip(RATES, ("mirror_got", "mirror_5000_got"), strict=True):
                steady = self._load(1, rate=rate)
                figures |= {f"mirror_{rate}": steady["p50_us"], got: steady["per_s"]}
                if session is not None:
                    arrived = _arrivals(session.local, before + int(steady["count"])) - before
                    figures[got] *= arrived / steady["count"]
                    before += arrived
            return figures | {"mirror_16": self._load(16)["per_s"]}

    def http(self, side: Side) -> Figures:
        """What HTTP costs the agent, beside plain proxies."""
        return http.Bench(self.target, self.programs, self.seconds).measure(side)

    def interceptors(self, side: Side) -> Figures:
        """What it costs to be intercepted."""
        return interceptors.measure(self.target, self.programs, side, self.seconds)

    def relay(self, side: Side) -> Figures:
        """The tunnel without the rest, beside a plain splice."""
        kind = "splice" if side == "native" else "tunnel"
        client = str(self.programs / "client")
        with ready([str(self.programs / "service"), str(LOCAL_SERVICE_PORT)]):
            with relays.running(kind, "127.0.0.1", LOCAL_SERVICE_PORT) as port:
                one, many = (
                    json.loads(output_of([client, "ping", "127.0.0.1", str(port), connections, str(self.seconds)]))
                    for connections in ("1", "16")
                )
            with relays.running(kind, "127.0.0.1", LOCAL_SERVICE_PORT + 1) as port:
                mib = 256
                # The client adds one to find the source of data.
                bulk = json.loads(output_of([client, "download", "127.0.0.1", str(port - 1), str(mib)]))
        return {"relay_ping": one["p50_us"], "relay_16": many["per_s"], "relay_bulk": mib * bulk["per_s"]}

    def _command(self, side: Side, program: str, *arguments: str) -> list[str]:
        command = [str(self.programs / program), *arguments]
        return self.target.inside(*command) if side == "native" else inpod(self.target, *command)

    def _run(self, side: Side, program: str, *arguments: str) -> Figures:
        figures: Figures = json.loads(output_of(self._command(side, program, *arguments)))
        return figures

    def _load(self, connections: int, rate: int = 0, path: str = "/", way: Literal["kept", "new"] = "kept") -> Figures:
        load = [str(self.programs / "http_load"), POD_ADDRESS, str(HTTP_PORT), str(connections), str(self.seconds)]
        figures: Figures = json.loads(output_of(self.target.from_caller(*load, str(rate), path, way)))
        return figures

    def _first_line_ms(self, side: Side, command: list[str]) -> float:
        full = command if side == "native" else inpod(self.target, *command)
        start = time.perf_counter()
        with subprocess.Popen(full, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            taken_ms = (time.perf_counter() - start) * 1e3
            if line != b"here\n":
                raise RuntimeError(f"{full} said {line!r}")
        return taken_ms


def _arrivals(local: str, expected: int) -> int:
    """Return how many requests the local program got, once they are all there or no more come."""
    end = time.monotonic() + ARRIVAL_LIMIT_S
    while True:
        with urllib.request.urlopen(f"http://{local}/count", timeout=ARRIVAL_LIMIT_S) as answer:
            arrived = int(answer.read().split()[1])
        if arrived >= expected or time.monotonic() > end:
            return arrived
        time.sleep(0.1)
