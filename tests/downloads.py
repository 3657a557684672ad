"""What tests fetch and keep in the cache, so that nothing is installed on this machine: packages of Debian, of Java."""

import hashlib
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.build import made

MAVEN = "https://repo1.maven.org/maven2"

LIMIT_S = 60


def debian_packages(name: str, packages: tuple[str, ...]) -> Path:
    """Return the folder into which packages of this machine's Debian are unpacked; `name` is the cache's for them."""

    def unpack(folder: Path) -> None:
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *packages]
        subprocess.run(download, cwd=folder, check=True)
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
            package.unlink()

    return made(name, "_".join(packages), unpack)


def java_packages(name: str, version: str, packages: Mapping[str, str]) -> str:
    """Return a class path; `packages` has the SHA-256 of each, by its folder and name: "io/netty/netty-common"."""

    def fetch(folder: Path) -> None:
        for package, digest in packages.items():
            file = f"{package.rpartition('/')[2]}-{version}.jar"
            with urllib.request.urlopen(f"{MAVEN}/{package}/{version}/{file}", timeout=LIMIT_S) as answer:
                content = answer.read()
            assert hashlib.sha256(content).hexdigest() == digest, f"{package} is not the one that it was"
            (folder / file).write_bytes(content)

    return f"{made(name, version, fetch)}/*"
