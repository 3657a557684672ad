"""Starts and asks processes that hold a redirect, and counts what they leave in the kernel."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from inpod.agent import namespaces
from inpod.agent.incoming.redirect import netlink, ruleset
from tests.netns.bpf_links import count_links
from tests.netns.conftest import START_LIMIT_S
from tests.netns.traffic import Netns

PROGRAM = Path(__file__).with_name("redirect_holder.py")
ROOT = Path(__file__).parents[2]
TECHNIQUES = ["sk_lookup", "nftables"]
GET_RULE = 7


class Holder:
    """A running `redirect_holder.py`.

    Attributes:
        name: Of the technique, as the redirect calls itself.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.name = self._answer()

    def tell(self, command: str) -> str:
        """Say a line and return what it answers, without "ok"."""
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], START_LIMIT_S)[0], "the holder is silent"
        line = self.process.stdout.readline().decode().strip()
        assert line.startswith("ok"), line or "the holder ended"
        return line[3:]


class Joined(Netns):
    """The network namespace of a process."""

    def __init__(self, pid: int) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.inode = os.fstat(self.fd).st_ino
        self.inside(lambda: namespaces.setns(self.fd, namespaces.CLONE_NEWNET))


@contextmanager
def holding(
    technique: str, netns: Netns | None = None, *, addresses: Sequence[str] = (), before: Sequence[str] = ()
) -> Iterator[Holder]:
    """Run a holder in `netns`; it is killed at the end.

    Args:
        before: A command that runs it, as unshare(1).
    """
    command = [*before, sys.executable, str(PROGRAM), technique, netns.path if netns else "-", *addresses]
    env = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONWARNINGS": "error"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        try:
            yield Holder(process)
        finally:
            process.kill()


def left_behind(netns: Netns) -> int:
    """Return how many links, nf_tables tables and rules there are in a network namespace."""

    def count() -> int:
        kernel = netlink.NfTables()
        try:
            tables = kernel.ask(netlink.Message(ruleset.GET_TABLE, 0, b""), is_dump=True)
            rules = kernel.ask(netlink.Message(GET_RULE, 0, b""), is_dump=True)
        finally:
            kernel.close()
        return len(tables) + len(rules)

    return netns.inside(count) + count_links(netns.inode)
