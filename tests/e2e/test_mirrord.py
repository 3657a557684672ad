"""A file of mirrord's that a whole team has in its repository: target, developers and files all come from it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster import PORT, Namespace
from tests.e2e.kube import wait_until_nothing_is_left
from tests.e2e.test_filter import answers
from tests.netns.test_filter import SERVER, event
from tests.processes import end, next_line

TEAM = """\
key: "{{ git_branch | default(value='main') | replace(from='/', to='-') }}"
operator: true
telemetry: false
target:
  path: {deployment: api, container: web}
  namespace: NAMESPACE
agent: {image: IMAGE, log_level: info}
feature:
  env: {override: {WHO: "{{ key }}"}}
  fs: {mode: localwithoverrides}
  network:
    incoming:
      mode: steal
      http_filter: {header_filter: "^x-user: {{ key }}$"}
      listen_ports: [[PORT, {{ get_env(name="LOCAL_PORT", default="0") }}]]
"""

PROGRAM = f"""
import os, sys
print(open("/etc/app/settings.txt").read().strip(), os.path.exists({__file__!r}), flush=True)
sys.argv[1:] = [os.environ["WHO"], "{PORT}"]
{SERVER}
"""


@contextmanager
def developer(here: Namespace, config: Path, who: str, port: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "inpod", "exec", "-f", str(config), "-k", who, "--progress", "json"]
    environment = {**os.environ, "KUBECONFIG": here.cluster.kubeconfig, "LOCAL_PORT": str(port)}
    with subprocess.Popen(
        [*command, sys.executable, "--", "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
        env=environment,
    ) as process:
        try:
            event(process, "PortSubscribed")
            yield process
        finally:
            end(process)


def test_one_file_serves_a_team(targets: Namespace, tmp_path: Path) -> None:
    config = tmp_path / "mirrord.yaml"
    text = TEAM.replace("NAMESPACE", targets.name).replace("IMAGE", targets.cluster.image).replace("[PORT", f"[{PORT}")
    config.write_text(text)
    address = str(targets.pod_of("api")["status"]["podIP"])
    with developer(targets, config, "alice", 18081) as alice, developer(targets, config, "bob", 18082):
        assert answers(targets, address, "alice", "bob", "carol") == ["alice", "bob", "original"]
        # The mount is the pod's, the rest this machine's.
        assert next_line(alice.stdout) == "colour is green True"
    wait_until_nothing_is_left(targets)
