"""What the cluster needs and a bare machine lacks: Debian packages, the one binary, images. Cached by content.

Everything is made under a temporary name and renamed when it is whole; the name has the hash of what it was made from,
so that neither a half nor a stale one can pass for a good one.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
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
}
"""Commands and the Debian packages they come from; the network plugins have no command in PATH."""

PLUGIN, PLUGINS_PACKAGE = Path("/usr/lib/cni/bridge"), "containernetworking-plugins"
IN_IMAGE = "python3,ca-certificates,iproute2"
SUITE = "bookworm"


def install_packages() -> None:
    """Install what is missing, with apt."""
    missing = [package for command, package in PACKAGES.items() if shutil.which(command) is None]
    if not PLUGIN.exists():
        missing.append(PLUGINS_PACKAGE)
    if missing:
        say(f"installing {' '.join(missing)}")
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
        command = ["apt-get", "install", "-qq", "--yes", "--no-install-recommends", *missing]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def build() -> Path:
    """Return the folder with `kube`, `pause.img` and `python.img`; a first build takes minutes, a later one nothing."""
    sources = [HERE / name for name in ("kube.go", "go.mod", "go.sum", "pause/main.go", "build.py", "image.py")]
    version = subprocess.run(["go", "version"], check=True, capture_output=True).stdout
    kube = made("kube", _hash(version, *(path.read_bytes() for path in sources)), _build_kube)
    image = made("python", _hash(IN_IMAGE.encode(), SUITE.encode(), (HERE / "image.py").read_bytes()), _build_image)
    link = kube / "python.img"
    if not link.exists():
        part = kube / "python.img.part"
        part.unlink(missing_ok=True)
        part.symlink_to(image / "python.img")
        part.rename(link)
    return kube


def made(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """Return the cached folder of `name` for `key`, made by `make` if it is not there."""
    folder = CACHE / f"{name}-{key}"
    if not folder.exists():
        part = CACHE / f"{name}-{key}.part-{os.getpid()}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(folder)
    return folder


def say(text: str) -> None:
    """Tell what takes time."""
    print(f"cluster: {text}", flush=True)


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _build_kube(folder: Path) -> None:
    say("building Kubernetes into one binary: some minutes, once")
    listed = ["go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes"]
    version = subprocess.run(listed, cwd=HERE, check=True, capture_output=True, text=True).stdout.strip()
    component = "k8s.io/component-base/version"
    # Without a version every component panics at its start.
    flags = f"-s -w -X {component}.gitVersion={version} -X {component}.gitMajor=1"
    flags += f" -X {component}.gitMinor={version.split('.')[1]}"
    environment = dict(os.environ, CGO_ENABLED="0")
    for flag, out, package in ((flags, "kube", "."), ("-s -w", "pause", "./pause")):
        command = ["go", "build", "-trimpath", f"-ldflags={flag}", "-o", str(folder / out), package]
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
