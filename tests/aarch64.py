"""`just aarch64`: whether the Rust code compiles for that processor. Nothing of it is run.

Needs Rust's library for it. Debian has one, with the compiler that it is of (the one that its browsers are built with);
both are unpacked into the cache, with apt lists of our own, so that nothing is installed on this machine.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster.build import made

ROOT = Path(__file__).parents[1]
TARGET = "aarch64-unknown-linux-gnu"
SOURCE = (
    "deb [arch=amd64,arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    " http://deb.debian.org/debian-security bookworm-security main\n"
)


def main() -> int:
    """Check all crates, and the layer in its own profile."""
    root = made("rust-aarch64", "bookworm", _unpack)
    libraries = root / "usr" / "lib" / "x86_64-linux-gnu"
    environment = dict(os.environ, RUSTC=str(root / "usr" / "bin" / "rustc"), LD_LIBRARY_PATH=str(libraries))
    for what in (["--workspace", "--release"], ["--package", "inpod-layer", "--profile", "layer"]):
        command = ["cargo", "check", "--locked", "--target", TARGET, "--target-dir", "native/target/aarch64", *what]
        command += ["--manifest-path", "native/Cargo.toml"]
        subprocess.run(command, cwd=ROOT, env=environment | {"RUSTFLAGS": "--deny warnings"}, check=True)
    return 0


def _unpack(folder: Path) -> None:
    state = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "source.list").write_text(SOURCE)
    options = (
        f"Dir::State::lists={state / 'lists'}",
        f"Dir::Cache={state / 'cache'}",
        f"Dir::Etc::sourcelist={state / 'source.list'}",
        "Dir::Etc::sourceparts=-",
        "APT::Architectures::=amd64",
        "APT::Architectures::=arm64",
        "APT::Sandbox::User=root",
    )
    apt = [part for option in options for part in ("-o", option)]
    subprocess.run(["apt-get", "-q", *apt, "update"], check=True)
    # The library with the compiler in it, and what that is linked with, have their versions in their names.
    driver = _needs(apt, "libstd-rust-web-dev:amd64", "libstd-rust-web-")
    llvm = _needs(apt, driver, "libllvm")
    # For this machine as well: build scripts run here.
    library = "libstd-rust-web-dev"
    packages = ["rustc-web:amd64", f"{library}:amd64", f"{library}:arm64", f"{driver}:amd64", f"{llvm}:amd64"]
    subprocess.run(["apt-get", "-q", *apt, "download", *packages], cwd=state, check=True)
    for package in state.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True)
        package.unlink()


def _needs(apt: list[str], package: str, name: str) -> str:
    """Return what a package depends on, by the first part of its name."""
    command = ["apt-cache", *apt, "depends", package]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = [line.split()[-1] for line in listed.splitlines() if line.strip().startswith("Depends:")]
    return next(word.removesuffix(":amd64") for word in found if word.startswith(name) and not word.endswith("-dev"))


if __name__ == "__main__":
    sys.exit(main())
