"""Options of the whole suite, and what all of it takes for granted."""

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

from tests import shares

# Hundreds of tests start inpod: where Python is told not to keep what it compiles, as in many containers, each start would
# compile all of it again, which takes half of the start's time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test has a limit of time that a busy machine can exceed.
settings.register_profile("inpod", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("inpod")


def pytest_configure(config: pytest.Config) -> None:
    """Take a share where the tests are shared, and SIGINT as it comes from a terminal.

    Started in a shell's background, all that tests start would ignore SIGINT.
    """
    shares.take(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    parser.addoption("--kubeconfig", help="run tests/e2e in this cluster instead of one of our own")
    parser.addoption("--agent-image", help="with --kubeconfig: an image with Python 3.11 that its nodes have")
