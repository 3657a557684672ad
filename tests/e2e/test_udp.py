"""Incoming UDP in a real cluster: another pod's datagrams, and the answers from the pod's own address."""

import json
import os
import subprocess
import sys

import pytest

from tests.e2e.cluster import Namespace
from tests.netns.test_filter import event
from tests.netns.test_session_udp import ECHO
from tests.netns.test_udp_agent import CLIENT, PORT
from tests.processes import end, next_line


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_datagrams_of_another_pod_come_to_the_program(targets: Namespace, interceptor: str) -> None:
    address = str(targets.pod_of("web")["status"]["podIP"])
    options = ["-t", "pod/web", "-n", targets.name, "-i", targets.cluster.image, "--steal", "--progress", "json"]
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "inpod",
            "exec",
            *options,
            "--interceptor",
            interceptor,
            "--",
            sys.executable,
            "-c",
            ECHO,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KUBECONFIG": targets.cluster.kubeconfig},
    ) as process:
        try:
            assert event(process, "PortSubscribed")["protocol"] == "udp"
            assert next_line(process.stdout) == f":: {PORT}"
            said = targets.inside("client", CLIENT, json.dumps([address, PORT, ["one", "two"], 3000]))
            answers, (ip, port) = json.loads(said)
            assert answers == ["program " + text.ljust(3000, ".") for text in ("one", "two")]
            for text in ("one", "two"):
                assert next_line(process.stdout) == f"{text.ljust(20, '.')} {ip} {port}"
        finally:
            end(process)
