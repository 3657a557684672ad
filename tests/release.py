"""`just wheel`: the wheel of a release, built against an old glibc, and tried where that glibc is.

Needs root, mmdebstrap, and what `pip install '.[release]'` brings.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from tests import debian11
from tests.layer.test_library import OLDEST_GLIBC, glibc_versions

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LIBRARIES = ("libinpod_layer.so", "libinpod_tracer.so", "libinpod_filters.so")


def main() -> int:
    """Build, look, try."""
    wheel = build()
    with zipfile.ZipFile(wheel) as archive:
        root = debian11.root_with({name: archive.read(f"inpod/native/{name}") for name in LIBRARIES})
    for name in LIBRARIES:
        newest = max(glibc_versions(root / debian11.HOME / name))
        assert newest <= OLDEST_GLIBC, f"{name} needs glibc {'.'.join(map(str, newest))}"
    assert debian11.output_under_layer(root) == "the pod's\n" * 2
    debian11.load(root, *LIBRARIES[1:])
    print(f"{wheel.name}: runs in Debian 11")
    return 0


def build() -> Path:
    """Return the wheel."""
    environment = dict(os.environ, INPOD_GLIBC=".".join(map(str, OLDEST_GLIBC)))
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    # Without pip's own environment for it: zig is a module of this one.
    how = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(DIST)]
    command = [sys.executable, "-m", "pip", "wheel", *how, "."]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return max(DIST.glob("*.whl"), key=lambda path: path.stat().st_mtime)


if __name__ == "__main__":
    sys.exit(main())
