"""The command: `inpod`, or `python -m inpod`."""

import os
import sys
from typing import NoReturn

from inpod.cli.main import main
from inpod.cli.output import forget


def run() -> NoReturn:
    """Run it, and end at once: to take apart what a Kubernetes client has loaded takes the interpreter 0.2 s."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        forget(stream)
    os._exit(status)


if __name__ == "__main__":
    run()
