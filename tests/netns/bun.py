"""Bun, a runtime of JavaScript that opens files by system calls of its own: fetched once, and kept in the cache."""

import hashlib
import subprocess
from pathlib import Path

from tests.cluster.build import made

VERSION = "1.4.5"
SHA256 = "0c72edca57b0cbf0a07a242daf0ea8ea96711827f042b80a1c383ce1cc51c771"


def binary() -> Path:
    """Return the program."""

    def fetch(folder: Path) -> None:
        subprocess.run(["npm", "pack", "--silent", f"@oven/bun-linux-x64@{VERSION}"], cwd=folder, check=True)
        (archive,) = folder.glob("*.tgz")
        assert hashlib.sha256(archive.read_bytes()).hexdigest() == SHA256, "Bun is not the one that it was"
        subprocess.run(["tar", "-xzf", archive, "--strip-components=2", "package/bin/bun"], cwd=folder, check=True)
        archive.unlink()

    return made("bun", VERSION, fetch) / "bun"
