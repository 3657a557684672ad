"""`feature.network.incoming` of a configuration file, as `inpod exec -f` does it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.netns.conftest import Pod
from tests.netns.session import line
from tests.netns.test_session_incoming import SERVER, call
from tests.processes import LIMIT_S, end, next_line

Json = dict[str, object]


@contextmanager
def server(pod: Pod, folder: Path, incoming: Json, *places: tuple[str, int]) -> Iterator["subprocess.Popen[str]"]:
    """Run a server that listens on `places` in the pod's place; its first line is read."""
    config = folder / "inpod.json"
    config.write_text(json.dumps({"feature": {"network": {"incoming": incoming}}}))
    options = ["-t", f"pid/{pod.pid}", "-f", str(config), "--progress", "json"]
    with subprocess.Popen(
        [sys.executable, "-m", "inpod", "exec", *options, "--", sys.executable, "-c", SERVER, json.dumps(places)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=os.environ,
    ) as process:
        try:
            assert json.loads(line(process))[0] == "listening"
            yield process
        finally:
            end(process)


def subscribed(process: "subprocess.Popen[str]") -> list[object]:
    """Return port of the pod and real address of the next subscription."""
    while True:
        event = json.loads(next_line(process.stderr))
        if event.get("event") == "PortSubscribed":
            return [event["port"], event["local"]]


def heard(process: "subprocess.Popen[str]") -> list[object]:
    """Return what the program tells of the next connection."""
    found: list[object] = json.loads(line(process))
    return found


def test_another_port_of_the_pod_leads_to_the_program(pod: Pod, tmp_path: Path) -> None:
    incoming: Json = {"mode": "steal", "port_mapping": [[3100, 8080]]}
    with server(pod, tmp_path, incoming, ("0.0.0.0", 3100)) as process:
        assert subscribed(process)[0] == 8080
        _, answer = call(pod, "10.77.0.1", 8080)
        assert answer == "program heard hello"
        _, _, _, _, own = heard(process)
        assert own == ["10.77.0.1", 3100]


def test_a_listener_is_had_on_another_port_here(pod: Pod, tmp_path: Path) -> None:
    incoming: Json = {"mode": "steal", "listen_ports": [[8080, 38080]]}
    with server(pod, tmp_path, incoming, ("0.0.0.0", 8080)) as process:
        assert subscribed(process) == [8080, "127.0.0.1:38080"]
        assert call(pod, "10.77.0.1", 8080)[1] == "program heard hello"


def test_only_the_named_ports_are_the_pods(pod: Pod, tmp_path: Path) -> None:
    for key, port in (("ports", 8080), ("ignore_ports", 8081)):
        incoming: Json = {"mode": "steal", key: [port]}
        with server(pod, tmp_path, incoming, ("127.0.0.1", 8081), ("0.0.0.0", 8080)) as process:
            assert subscribed(process)[0] == 8080
            assert call(pod, "10.77.0.1", 8080)[1] == "program heard hello"
            listening = Path("/proc/net/tcp").read_text()
            assert f"0100007F:{8081:04X}" in listening


def test_listeners_on_loopback_stay_here_if_asked(pod: Pod, tmp_path: Path) -> None:
    incoming: Json = {"mode": "steal", "ignore_localhost": True}
    with server(pod, tmp_path, incoming, ("127.0.0.1", 8081), ("0.0.0.0", 8080)) as process:
        assert subscribed(process)[0] == 8080
        process.terminate()
        assert "8081" not in process.communicate(timeout=LIMIT_S)[1]
