"""HTTP through the agent, beside plain proxies in Rust on hyper and h2 (`yardstick/`): rates, latencies, processor time, memory."""

import json
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.exec import LIMIT_S, Process, Session, output_of, subscribed
from bench.target import HTTP_PORT, POD_ADDRESS, RATES, Target, ready

Side = Literal["native", "inpod"]
Figures = dict[str, float]

HTTP2_PORT, PROXY_PORT = 7312, 7313

FILTER: dict[str, object] = {"path_filter": "^/mine$"}

CONNECTIONS, STREAMS = 4, 16
"""Of the load over HTTP/2."""

OPEN_CONNECTIONS = 10_000

_YARDSTICK = Path(__file__).parent / "yardstick"
_BUILD_LIMIT_S = 600
_MORE_DESCRIPTORS = 200
"""What an agent has open besides connections, at most."""


@dataclass(frozen=True)
class Bench:
    """Where measurements are taken; see `measure.Measure`."""

    target: Target
    programs: Path
    seconds: float

    def measure(self, side: Side) -> Figures:
        """Return the figures of one side; natively the proxies', and those of the pod itself.

        Raises:
            RuntimeError: Something is missing.
        """
        yardstick = _build()
        serve = self.target.in_network(yardstick, "serve", str(HTTP2_PORT))
        with ready(serve):
            return self._of_proxies(yardstick) if side == "native" else self._of_agent(yardstick)

    def _of_proxies(self, yardstick: str) -> Figures:
        figures: Figures = {}
        with self._proxy(yardstick, "http1", HTTP_PORT) as proxy:
            figures |= self._http1(proxy, PROXY_PORT)
        with self._proxy(yardstick, "http2", HTTP2_PORT) as proxy:
            figures |= self._http2(proxy, yardstick, PROXY_PORT)
        return figures | self._offered()

    def _of_agent(self, yardstick: str) -> Figures:
        figures: Figures = {}
        with self._session(steal=True, http_filter=FILTER) as session:
            figures |= self._http1(session.agent, HTTP_PORT) | self._offered()
            figures |= _cost("match_cpu", session.agent, lambda: self._load(HTTP_PORT, 16, path="/mine"))
        with self._session(steal=True, http_filter=FILTER, port=HTTP2_PORT) as session:
            figures |= self._http2(session.agent, yardstick, HTTP2_PORT)
        with self._session(steal=True) as session:
            figures |= _cost("steal_cpu", session.agent, lambda: self._load(HTTP_PORT, 16))
            figures |= _cost("steal_new_cpu", session.agent, lambda: self._load(HTTP_PORT, 8, way="new"))
            figures["steal_memory"] = self._memory(session, HTTP_PORT, opens_two=False)
        with self._session(steal=True, http_filter=FILTER) as session:
            figures["pass_memory"] = self._memory(session, HTTP_PORT, opens_two=True)
        with self._session(steal=False) as session:
            figures |= _cost("mirror_cpu", session.agent, lambda: self._load(HTTP_PORT, 16))
            for rate in RATES:
                figures |= _cost(f"mirror_{rate}_cpu", session.agent, lambda rate=rate: self._load(HTTP_PORT, 1, rate))  # type: ignore[misc]
        return figures

    def _http1(self, proxy: Process, port: int) -> Figures:
        load = _cost("http1_cpu", proxy, lambda: self._load(port, 16), "http1")
        return load | _cost("http1_new_cpu", proxy, lambda: self._load(port, 8, way="new"))

    def _http2(self, proxy: Process, yardstick: str, port: int) -> Figures:
        load = [yardstick, "load", f"{POD_ADDRESS}:{port}", str(CONNECTIONS), str(STREAMS), str(self.seconds), "/"]
        return _cost("http2_cpu", proxy, lambda: json.loads(output_of(self.target.from_caller(*load))), "http2")

    def _offered(self) -> Figures:
        """Calls at a steady rate: the pod itself, or what a filter passes to it."""
        figures: Figures = {}
        for rate in RATES:
            load = self._load(HTTP_PORT, 16, rate)
            figures |= {f"offered_{rate}": load["p50_us"], f"offered_{rate}_got": load["per_s"]}
        return figures

    def _memory(self, session: Session, port: int, *, opens_two: bool) -> float:
        """Return the agent's MiB while connections are open, each of which asked once, as far as descriptors allow."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        asking = min(OPEN_CONNECTIONS, (most - OPEN_CONNECTIONS - _MORE_DESCRIPTORS) if opens_two else OPEN_CONNECTIONS)
        hold = [str(self.programs / "http_hold"), POD_ADDRESS, str(port), str(OPEN_CONNECTIONS), str(asking)]
        with subprocess.Popen(self.target.from_caller(*hold), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise RuntimeError(f"{OPEN_CONNECTIONS} connections could not be opened: is 'ulimit -n' large enough?")
            mib = session.agent.pss_mib()
            process.stdin.close()
            process.wait(LIMIT_S)
        return mib

    @contextmanager
    def _proxy(self, yardstick: str, version: str, to: int) -> Iterator[Process]:
        command = self.target.in_network(yardstick, version, str(PROXY_PORT), f"{POD_ADDRESS}:{to}")
        with ready(command) as process:
            yield Process(process.pid)

    def _session(
        self, *, steal: bool, http_filter: dict[str, object] | None = None, port: int = HTTP_PORT
    ) -> AbstractContextManager[Session]:
        return subscribed(self.target, self.programs, steal=steal, http_filter=http_filter, port=port)

    def _load(self, port: int, connections: int, rate: int = 0, path: str = "/", way: str = "kept") -> Figures:
        load = [str(self.programs / "http_load"), POD_ADDRESS, str(port), str(connections), str(self.seconds)]
        figures: Figures = json.loads(output_of(self.target.from_caller(*load, str(rate), path, way)))
        return figures


def _cost(key: str, process: Process, load: Callable[[], Figures], name: str | None = None) -> Figures:
    """Put load on; return the processor time that a process took for each request and, with `name`, what callers saw."""
    before = process.cpu_us()
    seen = load()
    figures = {key: (process.cpu_us() - before) / seen["count"]}
    if name is not None:
        figures |= {f"{name}_per_s": seen["per_s"], f"{name}_p50": seen["p50_us"], f"{name}_p99": seen["p99_us"]}
    return figures


def _build() -> str:
    """Compile the yardstick, if that was not done yet; return its path.

    Raises:
        RuntimeError: It could not be.
    """
    command = ["cargo", "build", "--quiet", "--release", "--manifest-path", str(_YARDSTICK / "Cargo.toml")]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_LIMIT_S, check=False)
    except FileNotFoundError:
        raise RuntimeError("the yardstick needs Rust: there is no cargo") from None
    if done.returncode:
        raise RuntimeError(f"the yardstick does not build: {done.stderr[-400:]}")
    return str(_YARDSTICK / "target" / "release" / "inpod-yardstick")
