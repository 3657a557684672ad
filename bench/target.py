"""The bench's pod and its caller: network namespaces of their own, joined by a cable; files that only the pod has.

Everything runs as a child of this process, in a pid namespace whose first process ends with it, so nothing is left.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POD_ADDRESS, CALLER_ADDRESS = "10.87.0.1", "10.87.0.2"
SERVICE_PORT, HTTP_PORT = 7301, 7311
HOST_NAME = "db.bench"
"""Known to the pod's name server only (service.c)."""

FILES = "/srv/bench"
"""A folder of the pod that this machine does not have."""

RATES = (2000, 5000)
"""Requests a second of steady loads."""

SMALL_BYTES, SMALL_FILES, BIG_MIB = 200, 1000, 100

STEP_LIMIT_S = 30

_FURNISH = f"""
set -e
ip link set lo up
mount -t tmpfs -o size={BIG_MIB + 64}m tmpfs /srv
mkdir -p {FILES}/tree {FILES}/stat {FILES}/list {FILES}/python
for folder in tree stat list; do
    for number in $(seq 0 {SMALL_FILES - 1}); do head -c {SMALL_BYTES} /dev/zero > {FILES}/$folder/$number; done
done
head -c {SMALL_BYTES} /dev/zero > {FILES}/python/small
head -c {SMALL_BYTES} /dev/zero > {FILES}/small
head -c {BIG_MIB}M /dev/urandom > {FILES}/big
printf 'nameserver 127.0.0.1\\n' > /srv/resolv.conf
mount --bind /srv/resolv.conf /etc/resolv.conf
"""

_MANY_PORTS = "cd /proc/sys/net/ipv4; echo 1024 65535 > ip_local_port_range; echo 1 > tcp_tw_reuse"
"""A connection for each request leaves its port waiting: the search for a free one must not be what is measured, of whoever."""


@dataclass(frozen=True)
class Target:
    """A running pod and its caller's namespace.

    Attributes:
        pid: Of the pod's first process.
        caller_pid: Of a process in the caller's network namespace.
    """

    pid: int
    caller_pid: int

    def inside(self, *command: str) -> list[str]:
        """Return `command` as it is run in the pod."""
        return ["nsenter", "-t", str(self.pid), "--net", "--mount", "--pid", *command]

    def in_network(self, *command: str) -> list[str]:
        """Return `command` as it is run in the pod's network only, by the process that is started."""
        return ["nsenter", "-t", str(self.pid), "--net", *command]

    def from_caller(self, *command: str) -> list[str]:
        """Return `command` as it is run beside the pod, in its network's other host."""
        return ["nsenter", "-t", str(self.caller_pid), "--net", *command]


@contextmanager
def running_target(programs: Path) -> Iterator[Target]:
    """Make the pod and the caller, with the services started; undo all at the end."""
    with contextlib.ExitStack() as undo:
        pod = undo.enter_context(_namespaces("--net", "--mount", "--uts", "--pid", "--fork", "--kill-child"))
        caller = undo.enter_context(_namespaces("--net", "--pid", "--fork", "--kill-child"))
        target = Target(pod, caller)
        _do(target.inside("sh", "-c", _FURNISH))
        _do(target.inside("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "caller"))
        # From outside the pod's pid namespace, where the caller's pid means something.
        _do(["nsenter", "-t", str(pod), "--net", "ip", "link", "set", "caller", "netns", str(caller)])
        _do(target.from_caller("ip", "link", "set", "lo", "up"))
        _do(target.from_caller("ip", "link", "set", "caller", "name", "eth0"))
        for run, address in ((target.inside, POD_ADDRESS), (target.from_caller, CALLER_ADDRESS)):
            _do(run("ip", "address", "add", f"{address}/24", "dev", "eth0"))
            _do(run("ip", "link", "set", "eth0", "up"))
            _do(run("sh", "-c", _MANY_PORTS))
        undo.enter_context(ready(target.inside(str(programs / "service"), str(SERVICE_PORT))))
        undo.enter_context(ready(target.inside(str(programs / "http_server"), str(HTTP_PORT), "original")))
        yield target


@contextmanager
def ready(command: Sequence[str], *, word: str = "ready") -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program that says `word` once it serves, until the block ends."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().strip() == word.encode(), f"{command} did not start"
            yield process
        finally:
            process.terminate()


@contextmanager
def _namespaces(*flags: str) -> Iterator[int]:
    """Hold namespaces by a process that does nothing until we end; yield its pid."""
    holder = "read -r _ || :"
    command = ["unshare", *flags, "sh", "-c", f"echo ready; {holder}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n", "unshare: are you root?"
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            yield int(children.split()[0])
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait(STEP_LIMIT_S)


def _do(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=STEP_LIMIT_S)


def is_possible() -> bool:
    """Whether the namespaces can be had; the agent for a process needs root, too."""
    return os.geteuid() == 0
