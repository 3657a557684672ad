"""Builds the Rust libraries with cargo and puts them into the package: `pip install .` needs nothing else.

INPOD_GLIBC=2.31 in the environment: what the session loads is built against that glibc, whatever this machine has, with
cargo-zigbuild and its linker (both from PyPI); a release is built so (`just wheel`). The layer needs nothing new of any
glibc, and inpod-trace has this machine's in it.
"""

import os
import platform
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = {
    "libinpod_layer.so": "layer",
    "libinpod_filters.so": "release",
    "libinpod_tracer.so": "release",
    "inpod-trace": "release",
}
"""What is built, with its profile of native/Cargo.toml."""

OF_SESSION = ("libinpod_filters.so", "libinpod_tracer.so")

RUST = (1, 88)

STATIC = ("--", "--codegen", "target-feature=+crt-static")
"""For `inpod-trace`: it starts programs in whose environment a layer may be."""


class NativeHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's type parameter is private
    """Three cargo calls; the wheel is marked as one of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the libraries into src/inpod/native/."""
        native = Path(self.root) / "native"
        if not _has_rust():
            raise SystemExit(
                "inpod: Rust 1.88 or later is needed to build the layer and the filters: cargo is older, or not there."
            )
        glibc = os.environ.get("INPOD_GLIBC")
        target = f"{platform.machine()}-unknown-linux-gnu"
        how = ["--locked", "--manifest-path", str(native / "Cargo.toml")]
        layer = ["--profile", "layer", "--package", "inpod-layer", "--lib"]
        subprocess.run(["cargo", "build", *how, *layer], check=True)
        build = ["cargo", "zigbuild", "--target", f"{target}.{glibc}"] if glibc else ["cargo", "build"]
        libraries = ["--package", "inpod-filters", "--package", "inpod-tracer", "--lib"]
        subprocess.run([*build, *how, "--release", *libraries], check=True)
        program = ["--package", "inpod-tracer", "--bin", "inpod-trace"]
        subprocess.run(["cargo", "rustc", *how, "--release", *program, *STATIC], check=True)
        home = Path(self.root) / "src" / "inpod" / "native"
        home.mkdir(parents=True, exist_ok=True)
        for name, profile in FILES.items():
            folder = native / "target" / (target if glibc and name in OF_SESSION else "") / profile
            # A new file, never an overwritten one: a running program may have the old one mapped.
            part = home / (name + ".part")
            shutil.copy(folder / name, part)
            part.rename(home / name)
        build_data["pure_python"] = False
        machine = platform.machine()
        system = f"manylinux_{glibc.replace('.', '_')}_{machine}" if glibc else sysconfig.get_platform()
        build_data["tag"] = f"py3-none-{system.replace('-', '_').replace('.', '_')}"


def _has_rust() -> bool:
    """Return whether cargo is there, and as new as native/Cargo.toml wants it."""
    if shutil.which("cargo") is None:
        return False
    said = subprocess.run(["cargo", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.split()[1].split(".")[:2])) >= RUST
