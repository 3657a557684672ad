"""nscd and systemd-resolved of Debian, where a test has the mounts and the network for itself.

Each knows a name that nobody else does, from a hosts file of its own: who is told it has asked the daemon.
"""

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.downloads import debian_packages
from tests.processes import LIMIT_S, end

NSCD = "/run/nscd/socket"
RESOLVED = "/run/systemd/resolve/io.systemd.Resolve"

PACKAGES = ("nscd", "systemd-resolved", "libnss-resolve", "libsystemd-shared")

KNOWN = {"nscd": "10.8.7.1", "resolved": "10.8.7.2"}
"""Daemon -> the address of the name `only-DAEMON.test`."""

USER = "systemd-resolve:x:65530:65530::/:/usr/sbin/nologin\n"

QUIET = "[Resolve]\nDNSStubListener=no\nLLMNR=no\nMulticastDNS=no\n"

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def unpacked() -> Path:
    """Return the folder with the packages."""
    return debian_packages("name-daemons", PACKAGES)


@contextmanager
def running(packages: Path) -> Iterator[None]:
    """Run both; libc finds its module for systemd-resolved. `packages`: where `PACKAGES` are unpacked.

    Needs a /run of its own, and that others see no mounts of this process.
    """
    layers = f"lowerdir={packages / LIBRARIES}:/{LIBRARIES}"
    subprocess.run(["mount", "-t", "overlay", "-o", layers, "names", f"/{LIBRARIES}"], check=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as undo:
        users = Path(folder, "passwd")
        users.write_text(Path("/etc/passwd").read_text() + USER)
        subprocess.run(["mount", "--bind", users, "/etc/passwd"], check=True)
        undo.callback(subprocess.run, ["umount", "/etc/passwd"], check=True)
        # The other's folder is its own matter.
        Path(NSCD).parent.mkdir()
        settings = Path("/run/systemd/resolved.conf.d")
        settings.mkdir(parents=True)
        (settings / "quiet.conf").write_text(QUIET)
        nscd = [str(packages / "usr/sbin/nscd"), "--foreground", "--config-file", str(packages / "etc/nscd.conf")]
        resolved = [str(packages / "lib/systemd/systemd-resolved")]
        for name, command, path in (("nscd", nscd, NSCD), ("resolved", resolved, RESOLVED)):
            hosts = Path(folder, f"hosts-{name}")
            hosts.write_text(Path("/etc/hosts").read_text() + f"{KNOWN[name]} only-{name}.test\n")
            with_hosts = f'mount --bind {hosts} "$(realpath /etc/hosts)" && exec "$@"'
            shell = ["unshare", "--mount", "sh", "-c", with_hosts, "sh", *command]
            process = undo.enter_context(
                subprocess.Popen(shell, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
            )
            undo.callback(end, process)
            _wait_for(path, process)
        yield


def _wait_for(path: str, process: "subprocess.Popen[str]") -> None:
    end_s = time.monotonic() + LIMIT_S
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            return
        assert process.poll() is None, f"{path}: the daemon ended with status {process.returncode}"
        assert time.monotonic() < end_s, f"{path}: nobody listens"
        time.sleep(0.02)
