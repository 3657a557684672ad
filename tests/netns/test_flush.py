"""Which connections are the original's, while an agent makes some of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import threading

import pytest

from inpod.agent.incoming.flush import originals
from inpod.agent.incoming.redirect.base import MARK
from tests.netns.traffic import Netns, two_hosts
from tests.processes import next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")

PORT, CONNECTIONS, ROUNDS = 8080, 500, 8

ORIGINAL = f"""
import socket
server = socket.create_server(("0.0.0.0", {PORT}), backlog={CONNECTIONS * ROUNDS})
print("ready", flush=True)
kept = []
while True:
    kept.append(server.accept()[0])
    del kept[:-1000]
"""


def test_what_an_agent_has_just_connected_is_not_taken_for_a_clients() -> None:
    with two_hosts() as hosts:
        command = ["nsenter", f"--net={hosts.pod.path}", sys.executable, "-c", ORIGINAL]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[hosts.pod.fd]) as original:
            try:
                assert next_line(original.stdout) == "ready"
                assert _found(hosts.pod) == set()
            finally:
                original.kill()


def _found(pod: Netns) -> set[int]:
    """Return the ports of those that were taken for clients, in many looks while this process connects and connects."""

    def connect(kept: contextlib.ExitStack) -> None:
        for _ in range(CONNECTIONS):
            sock = kept.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, MARK)
            sock.connect(("127.0.0.1", PORT))

    def look() -> set[int]:
        found: set[int] = set()
        for _ in range(ROUNDS):
            with contextlib.ExitStack() as kept:
                connecting = threading.Thread(target=connect, args=[kept])
                connecting.start()  # in this thread's network namespace
                while connecting.is_alive():
                    found |= {each.peer.port for each in originals(PORT)}
                connecting.join()
        return found

    return pod.inside(look)
