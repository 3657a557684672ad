"""What the cluster needs and a bare machine lacks: Debian packages, the one binary, images. Cached by content.

Everything is made under a temporary name and renamed when it is whole; the name has the hash of what it was made from,
so that neither a half nor a stale one can pass for a good one.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.image import pack

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inpod-tests"

PYTHON_IMAGE = "localhost/inpod-python:test"
"""Target pods and the agent run in it: Debian with Python, nothing of inpod."""

PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "mmdebstrap": "mmdebstrap",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Commands and the Debian packages they come from."""

IN_IMAGE = "python3,ca-certificates,iproute2"
SUITE = "bookworm"

LINK = "-s -w -X {component}.gitVersion={version} -X {component}.gitMajor=1 -X {component}.gitMinor={minor}"
"""Linker flags: without a version every component panics at its start."""


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        kube: The binary; `pause.img` lies beside it.
        image: The archive of `PYTHON_IMAGE`.
        maker: Names the scripts that start a cluster, and the binary: a running one that others made is stale.
    """

    kube: Path
    image: Path
    maker: str


def build() -> Built:
    """Build what the cache lacks: the first time minutes, later nothing. The caller holds `state.alone`."""
    packing = (HERE / "image.py").read_bytes()
    sources = [(HERE / name).read_bytes() for name in ("kube.go", "go.mod", "go.sum", "pause/main.go")]
    kube = made("kube", _hash(_go_version(), LINK.encode(), packing, *sources), _build_kube)
    image = made("python", _hash(IN_IMAGE.encode(), SUITE.encode(), packing), _build_image)
    scripts = [(HERE / name).read_bytes() for name in ("vars.sh", "up.sh", "node.sh")]
    return Built(kube / "kube", image / "python.img", _hash(kube.name.encode(), *scripts))


def made(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the cached folder of `name` for `key`, made by `make` if it is not there; who else wants it meanwhile waits."""
    folder = CACHE / f"{name}-{key}"
    with locked(f"{name}.lock"):
        if not folder.exists():
            part = CACHE / f"{name}.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            make(part)
            part.rename(folder)
    return folder


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the cache; the kernel lets go when this process ends."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that holds {file.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Tell what takes time."""
    print(f"cluster: {text}", flush=True)


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _go_version() -> bytes:
    if shutil.which("go") is None:
        sys.exit("cluster: Go is needed to build Kubernetes (1.21 or later fetches the version that go.mod asks for)")
    return subprocess.run(["go", "version"], cwd=HERE, check=True, capture_output=True).stdout


def _build_kube(folder: Path) -> None:
    say("building Kubernetes into one binary: some minutes, once")
    listed = ["go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]
    version = subprocess.run(listed, cwd=HERE, check=True, capture_output=True, text=True).stdout.strip()
    flags = LINK.format(component="k8s.io/component-base/version", version=version, minor=version.split(".")[1])
    environment = dict(os.environ, CGO_ENABLED="0")
    # `just test` runs what needs no cluster meanwhile, and that has limits of time.
    nice = ["nice", "-n", "10"]
    for flag, out, package in ((flags, "kube", "."), ("-s -w", "pause", "./pause")):
        command = [*nice, "go", "build", "-trimpath", f"-ldflags={flag}", "-o", str(folder / out), package]
        subprocess.run(command, cwd=HERE, check=True, env=environment)
    with tarfile.open(folder / "pause.tar", "w") as tar:
        tar.add(folder / "pause", "pause")
    pack(folder / "pause.img", "localhost/pause:dev", folder / "pause.tar", ["/pause"])


def _build_image(folder: Path) -> None:
    say("building an image with Python")
    root = folder / "root.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={IN_IMAGE}", SUITE, root], check=True)
    pack(folder / "python.img", PYTHON_IMAGE, root, [])
    root.unlink()
