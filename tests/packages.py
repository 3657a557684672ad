"""Debian packages that the tests need and a bare machine lacks: `python -m tests.packages` installs them, as root.

Found missing by a command of theirs, so that a machine which has that from elsewhere is left as it is.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest

from tests.cluster.build import PACKAGES as OF_CLUSTER

OF_TESTS = {
    "curl": "curl",
    "gcc": "gcc",
    "gdb": "gdb",
    "h2load": "nghttp2-client",
    "ip": "iproute2",
    "iptables": "iptables",
    "javac": "default-jdk-headless",
    "musl-gcc": "musl-tools",
    "nft": "nftables",
    "nginx": "nginx",
    "node": "nodejs",
    "openssl": "openssl",
    "php": "php-cli",
    "ps": "procps",
    "ruby": "ruby",
    "sudo": "sudo",
}
"""Commands, and the packages they come from."""

LOCK_LIMIT_S = 300
"""How long apt waits for another one."""


def need(command: str) -> str:
    """Return the path of a command; skip the test where it is not installed."""
    path = _find(command)
    if path is None:
        pytest.skip(f"{command} is not installed ('python -m tests.packages' does it, as root)")
    return path


def install(packages: Mapping[str, str]) -> None:
    """Install those whose commands are missing, with apt; nothing is asked of apt when none is."""
    missing = sorted({package for command, package in packages.items() if _find(command) is None})
    if not missing:
        return
    if os.geteuid() != 0:
        print(f"packages: not installed, for want of root: {' '.join(missing)}", flush=True)
        return
    print(f"packages: installing {' '.join(missing)}", flush=True)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    apt = ["apt-get", "-qq", "-o", f"DPkg::Lock::Timeout={LOCK_LIMIT_S}"]
    subprocess.run([*apt, "update"], check=True, env=environment)
    command = [*apt, "install", "--yes", "--no-install-recommends", *missing]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _find(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


if __name__ == "__main__":
    install({**OF_TESTS, **OF_CLUSTER})
