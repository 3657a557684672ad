"""Finding a container's process by its cgroup."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inpod.agent.target import find_container
from tests.netns.conftest import Pod

CONTAINER = "5eafcafe" * 8


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup named like a container's, empty again at the end."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    home = next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)
    if home is None or os.geteuid() != 0:
        pytest.skip("needs a cgroup2 hierarchy and root")
    made = home / f"cri-containerd-{CONTAINER}.scope"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error.strerror}")
    try:
        yield made
    finally:
        for pid in (made / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (home / "cgroup.procs").write_text(pid)
        made.rmdir()


def test_oldest_process_with_a_parent_outside_is_the_containers(pod: Pod, cgroup: Path) -> None:
    (cgroup / "cgroup.procs").write_text(str(pod.pid))
    # As `kubectl exec`: in the cgroup, its parent outside; and a child of it, inside.
    command = ["sh", "-c", "sleep 60 & echo started; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as younger:
        try:
            (cgroup / "cgroup.procs").write_text(str(younger.pid))
            assert younger.stdout is not None
            assert younger.stdout.readline() == b"started\n"
            assert find_container(CONTAINER) == pod.pid
        finally:
            os.killpg(younger.pid, 9)
