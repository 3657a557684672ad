"""What leaves from the pod can be narrowed, and the pod's name is the program's; under both interceptors."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.session import ROOT
from tests.processes import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

POD = "10.77.0.1"

CONNECT = """
import socket, sys
for host in sys.argv[1:]:
    with socket.socket() as sock:
        sock.settimeout(3)
        try:
            sock.connect((host, %d))
            sock.sendall(b"me?")
            print("pod" if sock.recv(9) == b"me?" else "here")
        except OSError:
            print("here")
"""
"""The echo service is the pod's alone."""


@pytest.fixture(params=["layer", "tracer"])
def interceptor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def run(
    pod: Pod, folder: Path, interceptor: str, feature: object, *command: str | Path, options: tuple[str, ...] = ()
) -> str:
    config = folder / "inpod.json"
    config.write_text(json.dumps({"feature": feature}))
    words = ["-t", f"pid/{pod.pid}", "-f", str(config), "--interceptor", interceptor, "--progress", "off", *options]
    done = subprocess.run(
        [sys.executable, "-m", "inpod", "exec", *words, "--", *command],
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
        cwd=ROOT,
        # Where this machine has name servers that nobody answers for.
        env=os.environ | {"RES_OPTIONS": "timeout:1 attempts:1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def reached(
    pod: Pod, folder: Path, interceptor: str, outgoing: object, *hosts: str, options: tuple[str, ...] = ()
) -> list[str]:
    code = CONNECT % ECHO_PORT
    network = {"outgoing": outgoing}
    return run(
        pod, folder, interceptor, {"network": network}, sys.executable, "-c", code, *hosts, options=options
    ).split()


def test_connections_leave_from_the_pod_unless_told(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    def found(outgoing: object, *options: str) -> list[str]:
        return reached(pod, tmp_path, interceptor, outgoing, POD, "127.0.0.1", options=options)

    assert found(True) == ["pod", "pod"]
    assert found(False) == found({"tcp": False}) == found(True, "--no-tcp-outgoing") == ["here", "here"]
    assert found(True, "--no-outgoing") == ["here", "here"]
    assert found({"udp": False}) == ["pod", "pod"]
    assert found({"ignore_localhost": True}) == ["pod", "here"]


def test_destinations_can_be_chosen(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    def found(**chosen: list[str]) -> list[str]:
        return reached(pod, tmp_path, interceptor, {"filter": chosen}, POD, "127.0.0.1")

    assert found(remote=["10.0.0.0/8"]) == ["pod", "here"]
    assert found(remote=[f"tcp://:{ECHO_PORT}"]) == ["pod", "pod"]
    assert found(remote=[f"udp://:{ECHO_PORT}"]) == ["here", "here"]
    assert found(local=[f"{POD}:{ECHO_PORT}"]) == ["here", "pod"]
    assert found(local=[f"{POD}:1", "tcp://127.0.0.0/8"]) == ["pod", "here"]


@pytest.fixture
def hosts(pod: Pod) -> Iterator[None]:
    """Names that the pod alone knows."""
    file = Path(f"/proc/{pod.pid}/root/etc/hosts")
    before = file.read_text()
    file.write_text(f"{before}10.9.8.7 only-in-the-pod\n{POD} echo.pod\n")
    yield
    file.write_text(before)


@pytest.mark.usefixtures("hosts")
def test_destinations_can_be_names(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    """What a name stands for is the pod's to say: this machine does not know it."""

    def found(**chosen: list[str]) -> list[str]:
        return reached(pod, tmp_path, interceptor, {"filter": chosen}, POD, "127.0.0.1")

    assert found(remote=["echo.pod"]) == found(remote=[f"tcp://echo.pod:{ECHO_PORT}"]) == ["pod", "here"]
    assert found(remote=["echo.pod:1"]) == found(remote=["udp://echo.pod"]) == ["here", "here"]
    assert found(remote=["echo.pod", "127.0.0.1"]) == ["pod", "pod"]
    assert found(local=["echo.pod"]) == ["here", "pod"]
    assert found(local=["nowhere.pod"]) == ["pod", "pod"]
    assert found(remote=["nowhere.pod"]) == ["here", "here"]


@pytest.mark.usefixtures("hosts")
def test_addresses_have_the_pods_names(pod: Pod, tmp_path: Path) -> None:
    """By libc, that is under the layer; who is traced reads the pod's hosts file by himself."""
    command = [
        sys.executable,
        "-c",
        "import socket; print(socket.gethostbyaddr('10.9.8.7')[0], socket.getfqdn('10.9.8.7'))",
    ]
    assert run(pod, tmp_path, "layer", {}, *command) == run(pod, tmp_path, "tracer", {}, *command)
    assert run(pod, tmp_path, "layer", {}, *command) == "only-in-the-pod only-in-the-pod\n"


@pytest.mark.usefixtures("hosts")
def test_names_are_of_this_machine_where_asked(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    code = "import socket\ntry: print(socket.getaddrinfo('only-in-the-pod', 80)[0][4][0])\nexcept OSError: print('unknown')"

    def found(network: object, *options: str) -> str:
        command = [sys.executable, "-c", code]
        return run(pod, tmp_path, interceptor, {"network": network}, *command, options=options).strip()

    assert found({}) == "10.9.8.7"
    assert found({"dns": False}) == found({}, "--no-remote-dns") == "unknown"
    assert found({"dns": {"filter": {"local": ["only-in-the-pod"]}}}) == "unknown"
    assert found({"dns": {"filter": {"remote": ["*.pod"]}}}) == "unknown"
    assert found({"dns": {"filter": {"remote": ["*.pod", "only-in-the-pod"]}}}) == "10.9.8.7"


def test_name_of_the_host_is_the_pods(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    code = "import os, socket; print(socket.gethostname(), os.uname().nodename)"
    theirs = subprocess.run(
        ["nsenter", "-t", str(pod.pid), "-u", "uname", "-n"], capture_output=True, text=True, check=True
    ).stdout.strip()
    here = os.uname().nodename
    assert theirs != here
    assert run(pod, tmp_path, interceptor, {}, sys.executable, "-c", code).split() == [theirs, theirs]
    assert run(pod, tmp_path, interceptor, {"hostname": False}, sys.executable, "-c", code).split() == [here, here]
