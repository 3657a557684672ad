"""Files and command lines of mirrord, as people have them, in a session."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.test_outgoing_options import CONNECT, POD

LIMIT_S = 60

YAML = """\
# of the team, for both tools
key: "{{ get_env(name='WHO', default='nobody') }}"
operator: true
telemetry: false
target: {path: deployment/api, namespace: staging}
agent: {log_level: info, ttl: 60, image: ghcr.io/metalbear-co/mirrord:latest}
feature:
  network: false
  fs: local
  env:
    env_file: FOLDER/.env
    override: {WHO_AM_I: "{{ key }}"}
    mapping: {"_TIMEOUT$": "600"}
    unset: [aws_profile]
"""


def run(pod: Pod, *words: str, **changes: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-m", "inpod", "exec", "--progress", "plain", "-t", f"pid/{pod.pid}", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT_S, env={**os.environ, **changes})


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_variables_of_a_file_in_yaml(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    (tmp_path / ".env").write_text("APP_MODE=file\nDB_TIMEOUT=5\n")
    config = tmp_path / "mirrord.yaml"
    config.write_text(YAML.replace("FOLDER", str(tmp_path)))
    options = ("-f", str(config), "--interceptor", interceptor)
    # In a shell that asks another program: what is unset is unset for children, too.
    show = 'sh -c "env | sort" | grep -E "^(APP_MODE|WHO_AM_I|DB_TIMEOUT|AWS_PROFILE)="'
    done = run(pod, *options, "sh", "--", "-c", show, AWS_PROFILE="mine", WHO="alice")
    assert done.returncode == 0, done.stderr
    taken = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert taken == {"APP_MODE": "file", "DB_TIMEOUT": "600", "WHO_AM_I": "alice"}
    assert (
        done.stderr.count("inpod does without: operator, telemetry, agent.log_level, agent.ttl, agent.image of ") == 1
    )
    assert done.stderr.count("is no target in a cluster: target.namespace of ") == 1


def test_a_name_in_the_filter_that_the_pod_does_not_know_is_told_once(pod: Pod, tmp_path: Path) -> None:
    """In mirrord it would be part of a name."""
    config = tmp_path / "mirrord.json"
    config.write_text(json.dumps({"feature": {"network": {"outgoing": {"filter": {"remote": "cluster.local"}}}}}))
    code = CONNECT % ECHO_PORT
    done = run(pod, "-k", "me", "-f", str(config), sys.executable, "--", "-c", code, POD, POD)
    assert done.stdout.split() == ["here", "here"], done.stderr
    assert done.stderr.count(f"-k says nothing: there is no {{{{ key }}}} in {config}.") == 1
    assert done.stderr.count("'cluster.local' in feature.network.outgoing.filter is nothing to the pod") == 1


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_files_and_folders_that_are_asked_for(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    """A folder of the pod's where this machine's are read else, and the other way round."""
    root = Path(f"/proc/{pod.pid}/root")
    (root / "etc/inpod-team").mkdir(exist_ok=True)
    (root / "etc/inpod-team/a.py").write_text("of the pod")
    fs = {"read_only": ["/etc/inpod-team/.*"], "local": r"^/srv/app/config$"}
    only = {"mode": "localwithoverrides", "read_only": "/etc/inpod-team"}
    found = {}
    for name, files in (("asked", fs), ("only", only), ("else", {})):
        config = tmp_path / f"{name}.json"
        config.write_text(json.dumps({"feature": {"fs": files}}))
        code = "cat /etc/inpod-team/a.py; ls /etc/inpod-team; cat /srv/app/config; grep -c inhosts /etc/hosts"
        done = run(pod, "-f", str(config), "--interceptor", interceptor, "sh", "--", "-c", f"exec 2>/dev/null; {code}")
        found[name] = done.stdout
    assert found["asked"] == found["only"] == "of the poda.py\n2\n"
    assert found["else"] == "key: value\n2\n"
