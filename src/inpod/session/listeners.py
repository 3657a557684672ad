"""Which ports of this machine are listened on, by the kernel's own list (proc(5), /proc/net/tcp)."""

from pathlib import Path

LISTEN = "0A"


def listening_ports() -> set[int]:
    """Return the TCP ports, IPv4 and IPv6, that somebody in this network namespace listens on."""
    ports: set[int] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/self/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
