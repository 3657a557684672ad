"""A root of Debian 11, whose glibc is the oldest that inpod is for: a temporary folder, or the cache's, to chroot into."""

import shutil
import subprocess
from pathlib import Path

from tests.cluster.build import made
from tests.fakes.pod import Pod
from tests.fakes.session import FakeSession

SUITE = "bullseye"
PACKAGES = "python3-minimal,libpython3-stdlib"
HOME = "opt/inpod"
"""Where the libraries are put, below the root."""

SHELL = "cat /app/key; while read -r line; do echo $line; done < /app/key"


def bare_root() -> Path:
    """Return the root, made once: a minute."""
    return made("debian11", PACKAGES.replace(",", "_"), _make) / "root"


def root_with(libraries: dict[str, bytes]) -> Path:
    """Return the root with these files in it."""
    root = bare_root()
    for name, content in libraries.items():
        path = root / HOME / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
    return root


def output_under_layer(root: Path) -> str:
    """Return what a shell and a program that it starts read of the pod's /app/key, with the layer in both."""
    folder = root / "tmp" / "session"
    shutil.rmtree(folder, ignore_errors=True)
    pod = Pod(files={"/app/key": b"the pod's\n"})
    with FakeSession.running(folder, pod, "files\tread\nlocal-tree\t/tmp\nlocal-tree\t/opt\n"):
        variables = ["INPOD_SESSION=/tmp/session", f"LD_PRELOAD=/{HOME}/libinpod_layer.so"]
        command = ["chroot", str(root), "env", *variables, "bash", "-c", SHELL]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == "", done
    return done.stdout


def load(root: Path, *libraries: str) -> None:
    """Load libraries into the root's Python."""
    code = f"import ctypes, sys; [ctypes.CDLL('/{HOME}/' + name) for name in sys.argv[1:]]"
    subprocess.run(["chroot", str(root), "python3", "-c", code, *libraries], check=True)


def _make(folder: Path) -> None:
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(folder / "root")]
    subprocess.run(command, check=True)
