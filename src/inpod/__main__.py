"""The command: `inpod`, or `python -m inpod`."""

import gc
import os
import sys
from typing import NoReturn

# What is loaded stays: to look for garbage among it takes a tenth of the loading. `cli.loop` has it looked for again.
gc.disable()

from inpod.cli.main import main  # noqa: E402
from inpod.cli.output import forget  # noqa: E402


def run() -> NoReturn:
    """Run it, and end at once: to take apart what a Kubernetes client has loaded takes the interpreter 0.2 s."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        forget(stream)
    os._exit(status)


if __name__ == "__main__":
    run()
