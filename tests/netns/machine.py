"""A developer's machine for a test, apart from this one: `unshare --mount --net` runs it with a command to run there.

    python machine.py [--daemons FOLDER] NSSWITCH COMMAND...

It has name servers of its own, a hosts file, an nsswitch.conf with this line for hosts, and the sockets of nscd and of
systemd-resolved. They say nothing, or are those daemons themselves, from where their packages are unpacked (`name_daemons`).
Ends as the command does.
"""

import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.netns import name_daemons, pod
from tests.netns.name_daemons import NSCD, RESOLVED

SERVER = "127.0.0.53"

NAMES = {
    "here.test": [(pod.A, "10.8.0.1")],
    "pod.test": [(pod.A, "10.8.0.2")],
    "long.test": [(pod.A, f"10.8.1.{i}") for i in range(90)],
    "cache": [(pod.A, "10.8.0.3")],
}

HOSTS = "127.0.0.1 localhost\n10.8.8.8 here-hosts not-mine\n"


def hang_up(listener: socket.socket) -> None:
    while True:
        listener.accept()[0].close()


def main(nsswitch: str, command: list[str], daemons: Path | None) -> int:
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)
    texts = {
        "hosts": HOSTS,
        "resolv.conf": f"nameserver {SERVER}\noptions timeout:1 attempts:1\n",
        "nsswitch.conf": f"passwd: files\nhosts: {nsswitch}\ngroup: files\n",
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            Path(folder, name).write_text(text)
            subprocess.run(["mount", "--bind", Path(folder, name), Path("/etc", name).resolve()], check=True)
        pod.NAMES = NAMES
        pod.serve_dns(SERVER, is_first_server=True)
        with name_daemons.running(daemons) if daemons else quiet_daemons():
            return subprocess.run(command).returncode


@contextmanager
def quiet_daemons() -> Iterator[None]:
    for path in (NSCD, RESOLVED):
        Path(path).parent.mkdir(parents=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        threading.Thread(target=hang_up, args=[listener], daemon=True).start()
    yield


if __name__ == "__main__":
    words = sys.argv[1:]
    folder = Path(words[1]) if words[0] == "--daemons" else None
    nsswitch, *command = words[2:] if folder else words
    sys.exit(main(nsswitch, command, folder))
