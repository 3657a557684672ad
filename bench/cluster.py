"""`python -m bench.cluster`: how long a start in a real cluster takes, beside a pod of the same image that prints a line.

Needs `kubectl` and a kubeconfig (`eval "$(python -m tests.cluster env)"`), and makes a namespace with a pod of its own.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.exec import LIMIT_S, environment

POD = "web"
LINE = "here"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--image", required=True, help="with Python 3.11 or later, on the node already")
    parser.add_argument("--rounds", type=int, default=10, help="starts of either kind, in turn (%(default)s)")
    options = parser.parse_args()
    taken: dict[str, list[float]] = {"native": [], "inpod": [], "inpod, to its end": []}
    with _namespace(options.image) as namespace:
        for turn in range(options.rounds):
            line_s, _ = _timed(_kubectl_run(namespace, options.image, turn))
            taken["native"].append(line_s)
            line_s, end_s = _timed(_inpod(namespace, options.image))
            taken["inpod"].append(line_s)
            taken["inpod, to its end"].append(end_s)
    native = statistics.median(taken["native"])
    for what, each in taken.items():
        middle = statistics.median(each)
        print(f"{what:18} {middle:6.2f} s ({min(each):.2f}-{max(each):.2f})  x native {middle / native:.2f}")
    return 0


@contextmanager
def _namespace(image: str) -> Iterator[str]:
    """A namespace with a running pod, until the end of the block."""
    name = f"inpod-bench-{secrets.token_hex(3)}"
    command = ["python3", "-m", "http.server", "8080"]
    container = {"name": "web", "image": image, "imagePullPolicy": "IfNotPresent", "command": command}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD}, "spec": {"containers": [container]}}
    _kubectl("create", "namespace", name)
    try:
        _kubectl("-n", name, "apply", "-f", "-", text=json.dumps(pod))
        _kubectl("-n", name, "wait", "--for=condition=Ready", f"pod/{POD}", "--timeout=60s")
        yield name
    finally:
        _kubectl("delete", "namespace", name, "--wait=false")


def _kubectl_run(namespace: str, image: str, turn: int) -> list[str]:
    """Return how a pod is had that prints the line."""
    options = ["--image", image, "--image-pull-policy=IfNotPresent", "--restart=Never", "--attach", "--quiet"]
    return ["kubectl", "-n", namespace, "run", f"line-{turn}", *options, "--command", "--", "echo", LINE]


def _inpod(namespace: str, image: str) -> list[str]:
    options = ["-n", namespace, "-t", f"pod/{POD}", "--agent-image", image]
    return [sys.executable, "-m", "inpod", "exec", *options, "--", "echo", LINE]


def _timed(command: list[str]) -> tuple[float, float]:
    """Run it; return the seconds until it printed the line, and until it ended."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        line_s = time.perf_counter() - start
        said = process.stderr.read().decode(errors="replace")
    if line.strip() != LINE.encode():
        raise RuntimeError(f"{' '.join(command[:6])}: {said[-400:]}")
    return line_s, time.perf_counter() - start


def _kubectl(*arguments: str, text: str | None = None) -> None:
    command = ["kubectl", *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=LIMIT_S, env=os.environ)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
