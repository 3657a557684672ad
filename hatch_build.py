"""Builds the Rust libraries with cargo and puts them into the package: `pip install .` needs nothing else."""

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FILES = ("libinpod_layer.so", "libinpod_filters.so", "libinpod_tracer.so", "inpod-trace")

STATIC = ("--", "--codegen", "target-feature=+crt-static")
"""For `inpod-trace`: it starts programs in whose environment a layer may be."""


class NativeHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's type parameter is private
    """Two cargo calls; the wheel is marked as one of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the libraries into src/inpod/native/."""
        root = Path(self.root)
        if shutil.which("cargo") is None:
            raise SystemExit(
                "inpod: cargo is needed to build the layer and the filters. Install Rust 1.85 or later and try again."
            )
        how = ["--release", "--locked", "--manifest-path", str(root / "native" / "Cargo.toml")]
        libraries = ["--package", "inpod-layer", "--package", "inpod-filters", "--package", "inpod-tracer", "--lib"]
        subprocess.run(["cargo", "build", *how, *libraries], check=True)
        program = ["--package", "inpod-tracer", "--bin", "inpod-trace"]
        subprocess.run(["cargo", "rustc", *how, *program, *STATIC], check=True)
        home = root / "src" / "inpod" / "native"
        home.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            # A new file, never an overwritten one: a running program may have the old one mapped.
            part = home / (name + ".part")
            shutil.copy(root / "native" / "target" / "release" / name, part)
            part.rename(home / name)
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
