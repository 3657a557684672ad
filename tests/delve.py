"""Go's debugger, built once for each version and kept in the cache."""

import os
import subprocess
from pathlib import Path

from tests.cluster.build import made

VERSION = "v1.27.2"


def delve() -> Path:
    """Return the program."""
    return made("delve", VERSION, _make) / "dlv"


def _make(folder: Path) -> None:
    command = ["go", "install", f"github.com/go-delve/delve/cmd/dlv@{VERSION}"]
    subprocess.run(command, check=True, env=os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0"})
