"""Incoming UDP in a real cluster: another pod's datagrams, and the answers from the pod's own address."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace
from tests.e2e.kube import inpod_exec
from tests.netns.test_filter import event, warning
from tests.netns.test_session_udp import ECHO
from tests.netns.test_udp_agent import CLIENT, PORT
from tests.netns.test_udp_sharing import SERVER
from tests.processes import end, next_line


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_datagrams_of_another_pod_come_to_the_program(targets: Namespace, interceptor: str) -> None:
    address = str(targets.pod_of("web")["status"]["podIP"])
    options = ["--steal", "--progress", "json", "--interceptor", interceptor]
    with inpod_exec(targets, "pod/web", options, [sys.executable, "-c", ECHO]) as process:
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


def test_a_second_developer_takes_the_port(targets: Namespace, tmp_path: Path) -> None:
    address = str(targets.pod_of("web")["status"]["podIP"])

    def ask() -> list[str]:
        said = targets.inside("client", CLIENT, json.dumps([address, PORT, ["hello"], 0]))
        found: list[str] = json.loads(said)[0]
        return found

    @contextmanager
    def developer(name: str, **incoming: str) -> Iterator["subprocess.Popen[str]"]:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"feature": {"network": {"incoming": {"mode": "steal", **incoming}}}}))
        options = ["-f", str(file), "--progress", "json"]
        with inpod_exec(targets, "pod/web", options, [sys.executable, "-c", SERVER, name]) as process:
            try:
                event(process, "PortSubscribed")
                yield process
            finally:
                end(process)

    with developer("alice") as alice:
        assert ask() == ["alice hello"]
        with developer("bob", on_concurrent_steal="override"):
            assert "is no longer this session's" in warning(alice)
            assert ask() == ["bob hello"]
