"""Runs a program as a session does, without a session: `beside.py FOLDER COMMAND…`."""

import os
import shutil
import sys
from pathlib import Path

import uvloop

from inpod.launch.guardian import Guardian
from inpod.launch.process import end_like, start


async def main(folder: Path, argv: list[str]) -> int:
    guardian = Guardian(folder)
    environment = os.environ | {"INPOD_SESSION": str(folder)}
    try:
        process = start(shutil.which(argv[0]) or argv[0], argv, environment, guardian)
    except OSError:
        guardian.let_go()
        raise
    print(f"program {process.pid}", file=sys.stderr, flush=True)
    try:
        return await process.wait()
    finally:
        process.close()
        guardian.let_go()


if __name__ == "__main__":
    sys.exit(end_like(uvloop.run(main(Path(sys.argv[1]), sys.argv[2:]))))
