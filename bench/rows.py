"""What is measured: rows, and how each is had on either side."""

from dataclasses import dataclass

from bench.target import RATES


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        unit: "us", "ms", "MiB", "/s", "MiB/s", or "" of a ratio; of "/s" and "MiB/s" more is better.
        mirrord: Range of mirrord 3.250.0's figure relative to native, both measured on a 2-core machine with the agent on
            the same machine: how many times slower. None: not measured.
        goal: In words.
        has_native: Whether there is something to compare with.
    """

    key: str
    name: str
    unit: str
    mirrord: tuple[float, float] | None = None
    goal: str = ""
    has_native: bool = True

    @property
    def is_rate(self) -> bool:
        """Whether more is better."""
        return self.unit.endswith("/s")

    def times_native(self, native: float, inpod: float) -> float:
        """Return how many times slower than native; 1 is the same."""
        return native / inpod if self.is_rate else inpod / native


ROWS = [
    Row("start_c", "exec to first line, C program", "ms", (44, 51), "<= 250 ms"),
    Row("start_python", "exec to first line, Debian's python3", "ms", (4.3, 4.9), "<= 250 ms + native"),
    Row("file_first", "open+read+close 200 B, first", "us", None, "<= 400 us"),
    Row("file_again", "open+read+close 200 B, again", "us", (69, 111), "<= 12 us"),
    Row("python_again", "Python open().read() 200 B, again", "us", (144, 184), "<= 20 us"),
    Row("tree_first", "1000 small files read, first", "ms", (85, 95), "<= 50 ms"),
    Row("stat_first", "stat of 1000 files, first", "ms", (45, 81), "<= 15 ms"),
    Row("list_first", "listdir of 1000 entries, first", "ms", (210, 262), "<= 12 ms"),
    Row("big_64k", "100 MiB file, 64 KiB reads, first", "MiB/s", (16, 25), ">= 400 MiB/s"),
    Row("big_1m", "100 MiB file, 1 MiB reads, first", "MiB/s", (17, 20), ">= 400 MiB/s"),
    Row("connect", "TCP connect + close", "us", (30, 56), "<= 500 us"),
    Row("echo", "connect + 1 B echo + close", "us", (9, 13), "<= 800 us"),
    Row("ping_p50", "64 B ping-pong, p50", "us", (1.2, 3.6), "<= 110 us"),
    Row("ping_p99", "64 B ping-pong, p99", "us", None, "<= 300 us"),
    Row("ping_16", "16 connections of ping-pong", "/s", (5.4, 6.9), ">= 20000 /s"),
    Row("download", "bulk download", "MiB/s", (2.8, 4.5), ">= 0.35 of native"),
    Row("upload", "bulk upload", "MiB/s", (2.0, 2.0), ">= 0.51 of native"),
    Row("resolve_first", "getaddrinfo, a new name each time", "us", (9.4, 11.2), "<= 350 us"),
    Row("resolve", "getaddrinfo, again", "us", (9.4, 11.2), "<= 350 us"),
    Row("steal_16", "stolen HTTP, 16 kept connections", "/s", (7.5, 10), ">= 11000 /s"),
    Row("steal_1", "stolen HTTP, 1 connection, p50", "us", (5.4, 8.3), "<= 280 us"),
    Row("steal_new", "stolen HTTP, a connection for each request, 8 at a time", "/s", (5.0, 5.0), ">= 3500 /s"),
    Row("pass_16", "filtered HTTP that does not match, 16", "/s", (7.5, 8.5), ">= 14000 /s"),
    Row("pass_1", "filtered HTTP that does not match, p50", "us", (3.6, 5.5), "<= 130 us"),
    Row("pass_new", "filtered HTTP that does not match, new connections, 8", "/s", (2.5, 2.5), ">= 5500 /s"),
    Row("match_16", "filtered HTTP that matches, 16", "/s", (8.1, 9.3), ">= 9000 /s"),
    Row("match_1", "filtered HTTP that matches, p50", "us", (5.6, 8.7), "<= 300 us"),
    Row("mirror_16", "mirrored port, its callers, 16 connections", "/s", (10.5, 20), ">= 15000 /s"),
    Row("mirror_2000", "mirrored port, 2000 requests/s, p50", "us", (3.8, 6.2), "<= 1.1 x native"),
    Row("mirror_got", "of these 2000/s, requests that arrived", "/s", None, "all"),
    Row("mirror_5000", "mirrored port, 5000 requests/s, p50", "us", None, "<= 1.1 x native"),
    Row("mirror_5000_got", "of these 5000/s, requests that arrived", "/s", None, "all"),
    Row("http1_per_s", "HTTP/1.1 that does not match (native: hyper proxy), 16 connections", "/s"),
    Row("http1_p50", "of these, p50", "us"),
    Row("http1_p99", "of these, p99", "us"),
    Row("http1_cpu", "of these, processor time of agent (native: proxy) each", "us", None, "<= 1.1 x native"),
    Row("http1_new_cpu", "the same with new connections, 8", "us", None, "<= 250 us"),
    Row("http2_per_s", "HTTP/2 that does not match (native: h2 proxy), 4 connections of 16 streams", "/s"),
    Row("http2_p50", "of these, p50", "us"),
    Row("http2_p99", "of these, p99", "us"),
    Row("http2_cpu", "of these, processor time of agent (native: proxy) each", "us", None, "<= 1.5 x native"),
    *(
        row
        for rate in RATES
        for row in (
            Row(
                f"offered_{rate}",
                f"filtered HTTP that does not match, {rate} requests/s, p50",
                "us",
                None,
                "<= 1.1 x native",
            ),
            Row(f"offered_{rate}_got", f"of these {rate}/s, requests answered", "/s", None, "all"),
        )
    ),
    Row("match_cpu", "filtered HTTP that matches, 16, processor time of the agent", "us", has_native=False),
    Row("steal_cpu", "stolen HTTP, 16 kept connections, processor time of the agent", "us", has_native=False),
    Row("steal_new_cpu", "stolen HTTP, new connections, 8, processor time of the agent", "us", has_native=False),
    Row(
        "mirror_cpu",
        "mirrored HTTP, 16 connections, processor time of the agent",
        "us",
        None,
        "<= 5 us",
        has_native=False,
    ),
    *(
        Row(
            f"mirror_{rate}_cpu",
            f"mirrored HTTP, {rate} requests/s, processor time of the agent",
            "us",
            has_native=False,
        )
        for rate in RATES
    ),
    Row("steal_memory", "memory of the agent, 10000 stolen connections", "MiB", None, "<= 120 MiB", has_native=False),
    Row("pass_memory", "memory of the agent, 10000 filtered connections", "MiB", None, "<= 120 MiB", has_native=False),
    Row("traced_call", "a call that is not trapped, traced", "us", None, "+ 0.05 us"),
    Row("traced_local", "open+read+close 200 B of this machine, traced", "us", None, "+ 12 us"),
    Row("traced_pod", "open+read+close 200 B of the pod, again, traced", "us", None, ""),
    Row("traced_connect", "TCP connect + close, traced", "us", None, "connect + 100 us"),
    Row(
        "traced_http",
        "HTTP of a static Go server, 16 kept connections, traced rate by native",
        "",
        None,
        ">= 0.95",
        has_native=False,
    ),
    Row(
        "traced_http_new",
        "the same, a connection for each request, what traced takes more",
        "us",
        None,
        "<= 100 us",
        has_native=False,
    ),
    Row("relay_ping", "tunnel alone (native: plain splice): ping-pong", "us", None, ""),
    Row("relay_16", "tunnel alone: 16 connections", "/s", None, ""),
    Row("relay_bulk", "tunnel alone: bulk download", "MiB/s", None, ""),
]
