"""Builds the Rust libraries with cargo and puts them into the package: `pip install .` needs nothing else."""

import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARIES = ("libinpod_layer.so", "libinpod_filters.so")


class NativeHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's type parameter is private
    """One cargo call; the wheel is marked as one of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the libraries into src/inpod/native/."""
        root = Path(self.root)
        if shutil.which("cargo") is None:
            raise SystemExit(
                "inpod: cargo is needed to build the layer and the filters. Install Rust 1.85 or later and try again."
            )
        command = ["cargo", "build", "--release", "--locked", "--manifest-path", str(root / "native" / "Cargo.toml")]
        subprocess.run([*command, "--package", "inpod-layer", "--package", "inpod-filters"], check=True)
        home = root / "src" / "inpod" / "native"
        home.mkdir(parents=True, exist_ok=True)
        for library in LIBRARIES:
            # A new file, never an overwritten one: a running program may have the old one mapped.
            part = home / (library + ".part")
            shutil.copyfile(root / "native" / "target" / "release" / library, part)
            part.rename(home / library)
        build_data["pure_python"] = False
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
